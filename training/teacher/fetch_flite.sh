#!/bin/sh
# Fetches Debian's flite libraries with their voices, and what they need: fetch_flite.sh FOLDER
set -eu
mkdir -p "$1/packages"
cd "$1/packages"
apt-get -o APT::Sandbox::User=root download libflite1 libasound2
for package in *.deb; do
    dpkg-deb -x "$package" .
done
for library in libasound.so.2 libflite.so.1 libflite_cmulex.so.1 libflite_usenglish.so.1 libflite_cmu_us_slt.so.1 \
    libflite_cmu_us_rms.so.1 libflite_cmu_us_kal16.so.1 libflite_cmu_us_awb.so.1; do
    cp -L "$(find . -name "$library" | head -n 1)" "../$library"
done
cd ..
rm -r packages
