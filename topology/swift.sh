# shellcheck shell=bash
# Sourced by the scripts that build: puts a Swift that is new enough on the PATH, or says what to
# do and exits 69. Reads nothing but PATH and HOME.

# How release builds are made. They leave out the run-time checks of exclusive access to properties
# of classes: 8 % of the CPU of an HTTP grab, most of it within SwiftNIO. Debug builds keep them,
# and with them everything that the unit tests run.
# shellcheck disable=SC2034
release_flags=(-c release -Xswiftc -enforce-exclusivity=unchecked)

need_swift() {
    local place version
    if ! command -v swift >/dev/null; then
        # Swift installed for one user only is often not on the PATH of a script.
        for place in /opt/swift/usr/bin /usr/libexec/swift/bin \
            "${HOME:-/root}/.local/share/swiftly/bin" "${HOME:-/root}/.swiftly/bin"; do
            if [[ -x $place/swift ]]; then
                export PATH=$place:$PATH
                break
            fi
        done
    fi
    if ! command -v swift >/dev/null; then
        echo "Swift 6.3 is needed and not here: https://www.swift.org/install/linux/" >&2
        exit 69
    fi
    # 6.3 and later only: that is what the code is built and tested with.
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p')
    if [[ -z $version || $(printf '%s\n6.3\n' "$version" | sort -V | head -n 1) != 6.3 ]]; then
        echo "Swift 6.3 or later is needed; $(command -v swift) is ${version:-unknown}." >&2
        exit 69
    fi
}
