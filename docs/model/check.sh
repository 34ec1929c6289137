#!/bin/sh
# check.sh checks lease.pml: the protocol as it is, and without each of its rules.
# It prints a line for each claim and fails if one is not as README.md says.
set -eu
cd "$(dirname "$0")"
model=$PWD/lease.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

claims="endedRan noResurrection noForeignAck noStaleBury neverVanishes"
failed=0

# check NAME "FLAGS" "claims that are to be violated"
check() {
  spin -a $2 "$model" >/dev/null
  gcc -O2 -DSAFETY -o pan pan.c 2>/dev/null
  for claim in $claims; do
    out=$(./pan -m100000 -N "$claim" 2>&1) || true
    states=$(echo "$out" | sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p')
    errors=$(echo "$out" | sed -n 's/.*errors: \([0-9]*\).*/\1/p')
    want=holds got=holds
    case " $3 " in *" $claim "*) want=violated ;; esac
    [ "$errors" = 0 ] || got=violated
    note=
    [ -n "$errors" ] && [ "$got" = "$want" ] || { note="  <- want $want"; failed=1; }
    printf '%-20s %-16s %-9s %8s states%s\n' "$1" "$claim" "$got" "$states" "$note"
  done
}

check "as it is" "" ""
check "without the token" "-DFENCE=0" "noForeignAck noStaleBury"
check "without the window" "-DWINDOW=0" "noResurrection"
check "retry in two steps" "-DATOMIC=0" "neverVanishes"
exit $failed
