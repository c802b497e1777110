#!/bin/bash
# test.sh: runs the kernel tests in the VM ("make test-vm"). They are the packages whose tests import test/kernel.
#
#   VM_SHORT=1         the short form for CI: -test.short, and only the packages in $short below
#   VM_PACKAGES="a b"  these packages
#   VM_FLAGS=…         more flags for the test binaries, such as -test.run=TestX
set -euo pipefail
cd "$(dirname "$0")/../.."
here=test/vm
export CGO_ENABLED=0

short='cgroups test/kernel'
module=$(go list -m)

kernel_packages() {
	go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... |
		sed -n "s|^$module/\([^ ]*\) .*$module/test/kernel.*|\1|p"
}

packages=${VM_PACKAGES:-$(kernel_packages)}
flags=${VM_FLAGS:-}
if [ -n "${VM_SHORT:-}" ]; then
	flags+=' -test.short'
	packages=$(for package in $packages; do case " $short " in *" $package "*) echo "$package" ;; esac done)
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/minictr-test-vm.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/repo" "$work/shared" "$work/out"
for package in $packages; do
	mkdir -p "$work/repo/$package"
	go test -c -ldflags '-s -w' -o "$work/repo/$package/${package//\//-}.test" "./$package"
	[ ! -d "$package/testdata" ] || cp -a "$package/testdata" "$work/repo/$package/"
done
cp -a go.mod docs "$work/repo/"
[ ! -d bin ] || cp -a bin "$work/repo/"
[ ! -d ../shared/images ] || cp -a ../shared/images "$work/shared/"

run() {
	$here/vm-run.sh "$@" -m 2048 --timeout "${VM_TIMEOUT:-1800}" --out "$work/out" \
		--env MODULE="$module" --env MINICTR_BIN=/host/repo/bin --env PACKAGES="${packages//$'\n'/ }" --env FLAGS="-test.timeout=20m $flags" \
		$here/kernel-tests.sh "$work/repo" "$work/shared"
}

rc=0
run || rc=$?
# A VM that dies has no result. An emulated kernel does so now and then, where it patches its own code; once more then,
# from a boot of its own. One that dies again is a failure.
if [ $rc = 125 ]; then
	echo "test-vm: the VM died (see above); a second and last attempt" >&2
	rc=0
	run --cold || rc=$?
fi

# shellcheck disable=SC2016 # the inner shell expands it
go run ./test/report -- bash -c '
	for package in $2; do
		go tool test2json -p "'"$module"'/$package" <"$1/${package//\//-}.test.txt"
	done' bash "$work/out" "$packages" || rc=1
[ $rc = 0 ] || echo "test-vm: failed" >&2
exit $rc
