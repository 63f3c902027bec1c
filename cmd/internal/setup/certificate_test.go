package setup

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub/config"
)

// makePair makes a certificate of this template for a key of its own.
func makePair(t *testing.T, template x509.Certificate) (certificate, key []byte) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(1), pkix.Name{CommonName: "hub"}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func listenWith(t *testing.T, certificate, key []byte) config.Listen {
	t.Helper()
	l := config.Listen{Certificate: filepath.Join(t.TempDir(), "cert.pem"), Key: filepath.Join(t.TempDir(), "key.pem")}
	if err := errors.Join(os.WriteFile(l.Certificate, certificate, 0o600), os.WriteFile(l.Key, key, 0o600)); err != nil {
		t.Fatal(err)
	}
	return l
}

func pairOf(t *testing.T, template x509.Certificate) config.Listen {
	t.Helper()
	certificate, key := makePair(t, template)
	return listenWith(t, certificate, key)
}

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func goodTemplate() x509.Certificate {
	return x509.Certificate{NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0), DNSNames: []string{"hub"}}
}

func TestLoadCertificateSaysWhatIsWrong(t *testing.T) {
	cert, key := makePair(t, goodTemplate())
	otherCert, otherKey := makePair(t, goodTemplate())
	ca := goodTemplate()
	ca.IsCA, ca.BasicConstraintsValid = true, true
	caCert, _ := makePair(t, ca)
	block, _ := pem.Decode(cert)
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte{1}})
	for _, c := range []struct {
		name             string
		certificate, key []byte
		wrong, want      string
	}{
		{"encrypted", cert, encrypted, "key", "is encrypted with a password, and the hub has nobody to ask: openssl pkey"},
		{"encrypted as of old", cert, legacy, "key", "is encrypted with a password"},
		{"of another key", cert, otherKey, "certificate", "is not of the key in"},
		{"CA first", append(append([]byte{}, caCert...), otherCert...), otherKey, "certificate", "put the hub's own first"},
		{"changed places", key, cert, "certificate", "has a PRIVATE KEY in it and no certificate"},
		{"certificate as key", cert, cert, "key", "no private key"},
		{"DER", block.Bytes, key, "certificate", "is in DER form"},
		{"empty", nil, key, "certificate", "there is no certificate in PEM form"},
		{"no key", cert, nil, "key", "there is no private key in PEM form"},
	} {
		_, err := LoadCertificate(listenWith(t, c.certificate, c.key))
		bad, ok := errors.AsType[*CertificateError](err)
		if !ok || bad.Key != c.wrong || !strings.Contains(bad.Text, c.want) {
			t.Errorf("%s: got %+v, want %s: %s", c.name, err, c.wrong, c.want)
		}
	}
	mark := []byte("\ufeff")
	if _, err := LoadCertificate(listenWith(t, append(mark, cert...), append(mark, key...))); err != nil {
		t.Errorf("with a byte order mark: %v", err)
	}
	if _, err := LoadCertificate(config.Listen{Certificate: "/dev/zero", Key: "/dev/zero"}); err == nil {
		t.Error("an endless file is taken")
	}
}

func TestCertificateWarnings(t *testing.T) {
	for want, change := range map[string]func(c *x509.Certificate){
		"":                        func(*x509.Certificate) {},
		"has no subjectAltName":   func(c *x509.Certificate) { c.DNSNames = nil },
		"is a CA's and has no":    func(c *x509.Certificate) { c.DNSNames, c.IsCA, c.BasicConstraintsValid = nil, true, true },
		"has run out":             func(c *x509.Certificate) { c.NotAfter = now.Add(-time.Hour) },
		"runs out soon":           func(c *x509.Certificate) { c.NotAfter = now.Add(time.Hour) },
		"is this machine's clock": func(c *x509.Certificate) { c.NotBefore = now.Add(time.Hour) },
		"is not for a server":     func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"may not sign (keyUsage)": func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign },
	} {
		template := goodTemplate()
		change(&template)
		pair, err := LoadCertificate(pairOf(t, template))
		if err != nil {
			t.Fatal(err)
		}
		got := CertificateWarnings("cert.pem", pair, now)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPortRemedy(t *testing.T) {
	if got := PortRemedy(syscall.EACCES); !strings.Contains(got, "CAP_NET_BIND_SERVICE") {
		t.Errorf("got %q", got)
	}
	if got := PortRemedy(syscall.EADDRINUSE); got != "" {
		t.Errorf("got %q, want nothing: whether a port is in use is not looked at", got)
	}
}
