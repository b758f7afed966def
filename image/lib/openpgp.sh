# shellcheck shell=bash
# Just enough OpenPGP (RFC 4880) for GRUB: under Secure Boot it loads only what
# a key inside its own image signed, before the firmware checks the same file.
# The key is the Secure Boot key once more; the same input gives the same bytes.

# bytes: hexadecimal on stdin to bytes.
bytes() {
    local hex
    hex=$(tr -d '\n')
    # shellcheck disable=SC2001 # a pattern with &
    printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")"
}

hexadecimal() { od -An -v -tx1 | tr -d ' \n'; }

# mpi HEX: a number, its length in bits before it.
mpi() {
    local hex=$1 bits first
    while [[ $hex == 00* ]]; do hex=${hex:2}; done
    first=$((16#${hex:0:2}))
    bits=$((${#hex} * 4 - 8))
    while ((first > 0)); do bits=$((bits + 1)) first=$((first >> 1)); done
    printf '%04x%s' "$bits" "$hex"
}

# packet TAG HEX: with a length of two bytes.
packet() { printf '%02x%04x%s' $((0x81 | $1 << 2)) $((${#2} / 2)) "$2"; }

# openpgp_public_key KEY: its public half as a packet, in hexadecimal. Dated 0,
# so that it has one name for ever; the exponent is 65537.
openpgp_public_key() {
    local modulus
    modulus=$(openssl rsa -in "$1" -noout -modulus 2>/dev/null)
    modulus=${modulus#Modulus=}
    packet 6 "040000000001$(mpi "${modulus,,}")$(mpi 010001)"
}

# openpgp_sign KEY FILE: a detached signature (SHA-256), as bytes.
openpgp_sign() {
    local key=$1 file=$2 hashed=040001080006050200000000 name digest signature
    name=$(openpgp_public_key "$key" | bytes | openssl dgst -sha1 -binary | hexadecimal)
    digest=$(cat "$file" <(bytes <<<"${hashed}04ff0000000c") | openssl dgst -sha256 -binary | hexadecimal)
    signature=$(cat "$file" <(bytes <<<"${hashed}04ff0000000c") | openssl dgst -sha256 -sign "$key" | hexadecimal)
    packet 2 "${hashed}000a0910${name: -16}${digest:0:4}$(mpi "$signature")" | bytes
}
