# shellcheck shell=bash
# The package archive: where it is, what it holds now. The host's apt reads it
# into a state folder of our own; the host's package state is not touched.

SUITE=trixie
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# contrib has ZFS.
COMPONENTS='main contrib non-free-firmware'
# The archive's index is read again when it is older than this (seconds).
ARCHIVE_MAX_AGE=${MEADOW_ARCHIVE_MAX_AGE:-21600}

# archive_uri LABEL: the URI this host uses for that Debian archive, if it does.
archive_uri() {
    # Literal $(…): apt's own format syntax.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -F'|' -v label="$1" '$1 == "Debian" && $2 == label { print $3; exit }'
}

# archive_sources COMPONENTS: the same archive as the index is of.
archive_sources() {
    [[ -e $CACHE/archive/meadow.sources ]] || die "the archive's index is not there: run image/build archive first"
    sed "s/^Components: .*/Components: $1/" "$CACHE/archive/meadow.sources"
}

# find_sources COMPONENTS: a deb822 sources file for the suite. The mirrors are
# the host's own; a host that is no Debian names one in MEADOW_MIRROR and
# MEADOW_SECURITY_MIRROR, or else mmdebstrap's built-in one is taken.
find_sources() {
    local main security
    main=${MEADOW_MIRROR:-$(archive_uri Debian)}
    security=${MEADOW_SECURITY_MIRROR:-$(archive_uri Debian-Security)}
    if [[ -z $main ]]; then
        main=$(default_mirror Debian)
    fi
    if [[ -z $security ]]; then
        security=$(default_mirror Debian-Security)
    fi
    printf 'Types: deb\nURIs: %s\nSuites: %s %s-updates\nComponents: %s\nSigned-By: %s\n' \
        "${main%/}" "$SUITE" "$SUITE" "$1" "$KEYRING"
    printf '\nTypes: deb\nURIs: %s\nSuites: %s-security\nComponents: %s\nSigned-By: %s\n' \
        "${security%/}" "$SUITE" "$1" "$KEYRING"
}

# default_mirror LABEL: what mmdebstrap would take on this host. It writes its
# sources.list before the setup hook, which shows it and ends the run.
default_mirror() {
    local suite=$SUITE empty found
    [[ $1 == Debian-Security ]] && suite=$SUITE-security
    empty=$(mktemp -d)
    found=$(mmdebstrap --variant=custom --mode=root --setup-hook="cat \"\$1/etc/apt/sources.list\" >&2; exit 1" \
        "$SUITE" "$empty" 2>&1 | sed -nE "s/^deb (\[[^]]*\] )?([^ ]+) $suite .*/\2/p" | head -n1 || true)
    rm -rf -- "$empty"
    [[ -n $found ]] || die "no Debian mirror is known on this host: set MEADOW_MIRROR and MEADOW_SECURITY_MIRROR to the URLs of a Debian archive and of its security archive, then run again"
    printf '%s' "$found"
}

# archive_apt TOOL ARGS...: apt over our own lists, as if nothing was installed.
archive_apt() {
    local tool=$1 state=$CACHE/archive
    shift
    "$tool" -q \
        -o Dir::Etc::SourceList="$state/meadow.sources" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null \
        -o Dir::State="$state/state" -o Dir::State::status="$state/empty-status" \
        -o Dir::Cache="$state/cache" -o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
        -o APT::Install-Recommends=false -o APT::Update::Post-Invoke= -o DPkg::Post-Invoke= \
        -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@"
}

archive_refresh() {
    local state=$CACHE/archive sources age
    mkdir -p "$state/state/lists/partial" "$state/cache/archives/partial"
    : >"$state/empty-status"
    [[ -r $KEYRING ]] || die "$KEYRING is missing: install the package debian-archive-keyring"
    if [[ -e $state/stamp ]] && grep -qsx "Components: $COMPONENTS" "$state/meadow.sources"; then
        age=$(($(date +%s) - $(stat -c %Y "$state/stamp")))
        if ((age >= 0 && age < ARCHIVE_MAX_AGE)); then
            say "archive: index is $((age / 60)) min old"
            return
        fi
    fi
    sources=$(find_sources "$COMPONENTS")
    printf '%s\n' "$sources" >"$state/meadow.sources"
    if run_logged "$LOGS/archive.log" "reading the archive's index" archive_apt apt-get update -o APT::Update::Error-Mode=any; then
        touch "$state/stamp"
        rm -f "$state"/resolved-*
    elif [[ -e $state/stamp ]]; then
        say "archive: not reachable, going on with the index of $(date -r "$state/stamp" '+%F %R')"
    else
        die "the package archive cannot be read: check the network and the mirror in $state/meadow.sources"
    fi
}

# archive_resolve PACKAGE...: "name version" of all that an installation of
# these packages into an empty system would install. Kept until the index is
# read again, apt takes seconds for it.
archive_resolve() {
    local stamp=$CACHE/archive/stamp kept part
    [[ -e $stamp ]] || die "the archive's index is not there: run image/build archive first"
    kept=$CACHE/archive/resolved-$(printf '%s\n' "$(stat -c %Y "$stamp")" "$@" | sha256sum | cut -c1-24)
    if [[ ! -s $kept ]]; then
        part=$(mktemp "$kept.XXXXXX")
        archive_apt apt-get install --simulate "$@" |
            sed -nE 's/^Inst ([^ ]+) \(([^ ]+) .*/\1 \2/p' | LC_ALL=C sort >"$part"
        mv "$part" "$kept"
    fi
    cat "$kept"
}
