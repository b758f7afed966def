#!/bin/bash
# Makes an unsigned UKI with signatures of PCR 11. Runs in the tools tree.
#
# build-uki.sh KERNEL VERSION INITRD COMMAND_LINE OS_RELEASE PCR_KEY PCR_KEY_PUBLIC OUT
set -euo pipefail
kernel=$1 version=$2 initrd=$3 command_line=$4 os_release=$5 pcr_key=$6 pcr_key_public=$7 out=$8

build() {
    ukify build --linux "$kernel" --uname "$version" --initrd "$initrd" --cmdline "$command_line" \
        --os-release "@$os_release" --efi-arch x64 --pcrpkey "$pcr_key_public" --output "$out" "$@"
}

# ukify signs PCR 11 for systemd's initrd only, which extends it by the names of
# phases. Ours opens the state as the stub has left it, so the values are
# calculated from the sections of a first UKI, as the stub will measure them.
build
measured=(linux osrel cmdline initrd uname sbat pcrpkey)
sections=() arguments=()
for section in "${measured[@]}"; do
    sections+=(--section ".$section:binary@/tmp/section-$section")
    arguments+=("--$section=/tmp/section-$section")
done
ukify inspect "$out" "${sections[@]}" >/dev/null
/usr/lib/systemd/systemd-measure sign "${arguments[@]}" --phase= --bank=sha256 --json=short \
    --private-key="$pcr_key" --public-key="$pcr_key_public" >/tmp/pcrsig
jq --exit-status '.sha256 | length == 1' /tmp/pcrsig >/dev/null
build --section .pcrsig:@/tmp/pcrsig
