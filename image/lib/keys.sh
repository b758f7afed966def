# shellcheck shell=bash
# shellcheck disable=SC2034 # variables that other parts use
# The keys of whoever builds. They never leave this machine; none is in git or
# in an image. Whoever holds them can make images that this machine's nodes boot.

BUILD_KEYS=${XDG_CONFIG_HOME:-$HOME/.config}/meadow/keys
# Signs the manifest.
BUILD_KEY=$BUILD_KEYS/build.key
BUILD_KEY_PUBLIC=$BUILD_KEYS/build.pem
# Signs what firmware and kernel check: GRUB, UKI, modules. RSA 2048, because
# every firmware takes it; its certificate is what people enrol into `db`.
SECURE_BOOT_KEY=$BUILD_KEYS/secureboot.key
SECURE_BOOT_CERTIFICATE=$BUILD_KEYS/secureboot.pem
# Signs the values of PCR 11, to which the TPM's key slot is bound.
PCR_KEY=$BUILD_KEYS/pcr.key
PCR_KEY_PUBLIC=$BUILD_KEYS/pcr.pem

# build_keys: makes the keys that are not there.
build_keys() { with_lock build-key build_keys_if_needed; }

build_keys_if_needed() {
    (umask 077 && mkdir -p "$BUILD_KEYS")
    chmod 0700 "$BUILD_KEYS"
    private_key "$BUILD_KEY" 3072
    derived "$BUILD_KEY_PUBLIC" "$BUILD_KEY" openssl pkey -in "$BUILD_KEY" -pubout
    private_key "$SECURE_BOOT_KEY" 2048
    derived "$SECURE_BOOT_CERTIFICATE" "$SECURE_BOOT_KEY" openssl req -x509 -key "$SECURE_BOOT_KEY" -sha256 \
        -days 10950 -subj "/CN=Meadow Secure Boot" -addext basicConstraints=critical,CA:FALSE \
        -addext extendedKeyUsage=codeSigning
    private_key "$PCR_KEY" 2048
    derived "$PCR_KEY_PUBLIC" "$PCR_KEY" openssl pkey -in "$PCR_KEY" -pubout
}

# private_key FILE BITS
private_key() {
    [[ ! -e $1 ]] || return 0
    (umask 077 && openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:$2" -out "$1.new")
    sync "$1.new"
    mv "$1.new" "$1"
    say "key made: $1"
}

# derived FILE KEY CMD…: the output of CMD, made again when KEY is newer.
derived() {
    local file=$1 key=$2
    shift 2
    [[ ! -e $file || $key -nt $file ]] || return 0
    "$@" >"$file.new"
    chmod 0644 "$file.new"
    mv "$file.new" "$file"
}
