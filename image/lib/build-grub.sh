#!/bin/bash
# Makes GRUB's images for BIOS and UEFI with the same script in them. Runs in
# the tools tree.
#
# build-grub.sh GRUB_FOLDER COMMAND_LINE EPOCH OUT, with key.pgp in OUT
set -euo pipefail
folder=$1 command_line=$2 epoch=$3 out=$4
common=(normal memdisk tar part_gpt fat loadenv test echo sleep minicmd boot terminal hashsum gcry_sha256)

mkdir /tmp/memdisk
sed "s|@COMMAND_LINE@|$command_line|" "$folder/meadow.cfg" >/tmp/memdisk/meadow.cfg
grub-script-check /tmp/memdisk/meadow.cfg
tar --create --file /tmp/memdisk.tar --format ustar --sort name --mtime "@$epoch" --owner 0 --group 0 --numeric-owner \
    -C /tmp/memdisk meadow.cfg

# early.cfg is for GRUB's simple parser, which knows neither comments nor `if`.
# The core finds the disk by what the BIOS names; the ESP is partition 2 there.
# (The prefix stands behind --memdisk, which sets another one.)
grub-mkimage --format i386-pc --output "$out/core.img" --config "$folder/early.cfg" \
    --memdisk /tmp/memdisk.tar --prefix '(,gpt2)/meadow' "${common[@]}" biosdisk serial probe linux
cp /usr/lib/grub/i386-pc/boot.img "$out/boot.img"

# What Debian's own image says of its vulnerabilities' generation (SBAT), for
# machines that boot through shim.
python3 - /usr/lib/grub/x86_64-efi/monolithic/grubx64.efi >/tmp/sbat.csv <<'END'
import pefile, sys
sections = pefile.PE(sys.argv[1]).sections
sys.stdout.buffer.write(next(s for s in sections if s.Name.startswith(b".sbat")).get_data().rstrip(b"\0"))
END
grep -q '^grub,' /tmp/sbat.csv
# GRUB under Secure Boot loads nothing that none of its verifiers looked at. Of
# shim's there is none here, so a key of its own verifies uki.efi.sig; then the
# firmware verifies the UKI itself.
grub-mkimage --format x86_64-efi --output "$out/bootx64.efi" --config "$folder/early.cfg" \
    --memdisk /tmp/memdisk.tar --prefix /meadow --disable-shim-lock --sbat /tmp/sbat.csv --pubkey "$out/key.pgp" \
    "${common[@]}" chain pgp gcry_rsa gcry_sha1
