#!/bin/sh
# Makes the certificates that tests use: `ca` signs `member` (for this machine),
# `elsewhere` (for another name) and `expired`; `stranger` is signed by nobody the others know.
# The keys are in the repository on purpose: they guard nothing.
set -eu
cd "$(dirname "$0")"
key() {
    openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"
}
authority() {
    key "$1"
    openssl req -x509 -new -key "$1.key" -subj "/CN=minikv tests $1" -days 36500 -sha256 \
        -addext "keyUsage=critical,keyCertSign" -out "$1.pem"
}
# signed NAME AUTHORITY SUBJECT_NAMES FROM UNTIL
signed() {
    key "$1"
    openssl req -new -key "$1.key" -subj "/CN=$1" -out "$1.csr"
    work=$(mktemp -d)
    : >"$work/index"
    cat >"$work/config" <<END
[ca]
default_ca = it
[it]
database = $work/index
new_certs_dir = $work
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[member]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectAltName = $3
END
    openssl ca -batch -notext -config "$work/config" -extensions member -cert "$2.pem" -keyfile "$2.key" \
        -startdate "$4" -enddate "$5" -in "$1.csr" -out "$1.pem" 2>/dev/null
    rm -r "$work" "$1.csr"
}
# The latter are those of tests in networks of their own.
here="IP:127.0.0.1,IP:::1,DNS:localhost,IP:10.213.7.1,IP:10.213.7.2,IP:10.213.7.3,IP:10.213.7.4"
now=20200101000000Z
later=21250101000000Z
authority ca
authority other
signed member ca "$here" $now $later
signed elsewhere ca "DNS:elsewhere.example" $now $later
signed expired ca "$here" 20200101000000Z 20210101000000Z
signed stranger other "$here" $now $later
rm ca.key other.key
