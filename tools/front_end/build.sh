#!/usr/bin/env bash
# Bundle the libraries of the map's page, with their licences. Needs npm; run after changing package.json.
set -euo pipefail
cd "$(dirname "$0")"
vendor=../../deepchem_crystalssl/explorer/page/vendor
npm ci --ignore-scripts --no-audit --no-fund
node_modules/@esbuild/*/bin/esbuild d3.js --bundle --minify --format=iife --global-name=d3 \
  --legal-comments=none --outfile="$vendor/d3.min.js"
cp node_modules/3dmol/build/3Dmol-min.js "$vendor/3Dmol.min.js"
{
  for package in $(npm ls --omit=dev --all --parseable | sed 's,.*/node_modules/,,' | sort -u); do
    folder="node_modules/$package"
    [ -f "$folder/package.json" ] || continue
    text=$(find "$folder" -maxdepth 1 -iname 'licen[sc]e*' | head -1)
    echo "==== $(node -p "const p=require('./$folder/package.json'); p.name+' '+p.version+' ('+(p.license||p.licenses)+')'")"
    [ -z "$text" ] || cat "$text"
    echo
  done
} > "$vendor/LICENSES.txt"
