#!/bin/sh
# Fetches the packages whose texts the training sentences are taken from, and unpacks them: fetch_sources.sh FOLDER
set -eu
mkdir -p "$1"
cd "$1"
apt-get -o APT::Sandbox::User=root download wordnet-base fortunes fortunes-min gnome-user-docs endless-sky-data wamerican
for package in *.deb; do
    dpkg-deb -x "$package" .
    rm "$package"
done
