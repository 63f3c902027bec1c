#!/bin/sh
# A TLS 1.3 client on OpenSSL that does not trust the server's certificate says so in an
# alert, unknown_ca. A good guess is that a server on Go's crypto/tls then fails with
# "remote error: tls: unknown certificate authority", as it does for a client on Go.
#
# It does not: OpenSSL sends this alert unencrypted (record type 21, 15 03 03 00 02 02 30),
# and crypto/tls, which expects an encrypted record by then, fails with "bad record MAC". So
# the server's log speaks of a broken connection where a certificate is not trusted. With TLS
# 1.2 the alert arrives as one.
#
# Seen with OpenSSL 3.0.20 (Debian 12) and Go 1.26.10:
#
#	TLS 1.3: local error: tls: bad record MAC
#	TLS 1.2: remote error: tls: unknown certificate authority
#
# It needs Go, dpkg-deb and apt-get on Debian 12; nothing is installed on the system.
set -eu
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"

version=3.0.20-1~deb12u2
apt-get download -q "openssl=$version" "libssl3=$version" >/dev/null 2>&1 ||
	{ echo "cannot download openssl $version: apt-get update?"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" root; done
LD_LIBRARY_PATH=$(echo "$dir"/root/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH
openssl=$dir/root/usr/bin/openssl
"$openssl" version

cat >main.go <<'GO'
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"
)

func main() {
	fmt.Println(runtime.Version())
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(err)
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	for _, v := range []struct{ name, flag string }{{"TLS 1.3", "-tls1_3"}, {"TLS 1.2", "-tls1_2"}} {
		// The client trusts no certificate, and ends where it cannot verify one.
		client := exec.Command(os.Args[1], "s_client", "-connect", l.Addr().String(), v.flag,
			"-no-CAfile", "-no-CApath", "-no-CAstore", "-verify_return_error")
		check(client.Start())
		c, err := l.Accept()
		check(err)
		c.SetDeadline(time.Now().Add(time.Minute))
		fmt.Printf("%s: %v\n", v.name, tls.Server(c, config).Handshake())
		c.Close()
		client.Wait()
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
GO
printf 'module finding\n\ngo 1.26\n\ntoolchain go1.26.10\n' >go.mod
GOTOOLCHAIN=go1.26.10 go build -o server . # with the system's libraries
./server "$openssl" | tee out
grep -qx 'TLS 1.3: local error: tls: bad record MAC' out &&
	grep -qx 'TLS 1.2: remote error: tls: unknown certificate authority' out ||
	{ echo "changed: see the head of this script for what was seen"; exit 1; }
