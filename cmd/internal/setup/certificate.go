package setup

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/errtext"
	"github.com/besterhub/bester/hub/textfile"
)

// A CertificateError says which key of a TLS listener is wrong.
type CertificateError struct {
	Key  string // "certificate" or "key"
	Text string // what is wrong with its file, and what to do
}

// Error returns Text.
func (e *CertificateError) Error() string { return e.Text }

// LoadCertificate reads the certificate and the private key of a TLS listener. The error is
// a *CertificateError that says what to do.
func LoadCertificate(l config.Listen) (*tls.Certificate, error) {
	pair, errs := loadCertificate(l)
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return pair, nil
}

func loadCertificate(l config.Listen) (pair *tls.Certificate, errs []*CertificateError) {
	wrong := func(key, format string, args ...any) {
		errs = append(errs, &CertificateError{key, fmt.Sprintf(format, args...)})
	}
	certificate, certErr := readPEM(l.Certificate)
	if certErr != nil {
		wrong("certificate", "%s", errtext.Of(certErr))
	} else if text := certificateProblem(l.Certificate, certificate); text != "" {
		wrong("certificate", "%s", text)
	}
	key, keyErr := readPEM(l.Key)
	if keyErr != nil {
		wrong("key", "%s", errtext.Of(keyErr))
	} else if text := keyProblem(l.Key, key); text != "" {
		wrong("key", "%s", text)
	}
	if len(errs) > 0 {
		return nil, errs
	}
	made, err := tls.X509KeyPair(certificate, key)
	switch {
	case err == nil:
		return &made, nil
	case strings.Contains(err.Error(), "does not match"):
		text := fmt.Sprintf("%s is not of the key in %s: take the certificate that was made for this key", l.Certificate, l.Key)
		if chain := parseChain(certificate); len(chain) > 1 && chain[0].IsCA {
			text = fmt.Sprintf("%s begins with a CA's certificate, which is not of the key in %s: put the hub's own first", l.Certificate, l.Key)
		}
		wrong("certificate", "%s", text)
	default:
		wrong("certificate", "%s and %s: %v", l.Certificate, l.Key, err)
	}
	return nil, errs
}

// maxPEM is the size of the largest file of certificates that is read.
const maxPEM = 1 << 20

// readPEM reads a regular file or a pipe, which it waits for, without the byte order mark
// that an editor put in front.
func readPEM(path string) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() && info.Mode().Type() != os.ModeNamedPipe {
		return nil, fmt.Errorf("%s is no file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxPEM:
		return nil, fmt.Errorf("%s is larger than %v: want a file in PEM form", path, config.Bytes(maxPEM))
	}
	if _, err := x509.ParseCertificate(data); err == nil {
		return nil, fmt.Errorf("%s is in DER form, not PEM: openssl x509 -inform der -in %[1]s -out new.pem", path)
	}
	text, err := textfile.Decode(data)
	if err != nil && !bytes.Contains(text, []byte("-----BEGIN")) { // comments may be in any encoding
		return nil, fmt.Errorf("%s is not in PEM form: %w", path, err)
	}
	return text, nil
}

// certificateProblem says what is wrong with the content of a certificate's file, or "".
func certificateProblem(path string, data []byte) string {
	other := ""
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			if _, err := x509.ParseCertificate(block.Bytes); err != nil {
				return fmt.Sprintf("%s: a certificate in it is damaged: %v", path, err)
			}
			return ""
		}
		other = block.Type
	}
	if other != "" {
		return fmt.Sprintf("%s has a %s in it and no certificate: want the certificate's PEM file", path, other)
	}
	return fmt.Sprintf("%s: there is no certificate in PEM form in it (-----BEGIN CERTIFICATE-----)", path)
}

// keyProblem says what is wrong with the content of a private key's file, or "".
func keyProblem(path string, data []byte) string {
	other := ""
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["DEK-Info"] != "":
			return fmt.Sprintf("%s is encrypted with a password, and the hub has nobody to ask: openssl pkey -in %[1]s -out new.key, then chmod 600 new.key", path)
		case block.Type == "OPENSSH PRIVATE KEY":
			return fmt.Sprintf("%s is a key for SSH: make one for TLS: openssl genpkey -algorithm ED25519 -out new.key, and a certificate for it", path)
		case block.Type == "PRIVATE KEY", strings.HasSuffix(block.Type, " PRIVATE KEY"):
			return ""
		}
		other = block.Type
	}
	if other != "" {
		return fmt.Sprintf("%s has a %s in it and no private key: want the private key's PEM file", path, other)
	}
	return fmt.Sprintf("%s: there is no private key in PEM form in it (-----BEGIN PRIVATE KEY-----)", path)
}

func parseChain(data []byte) (chain []*x509.Certificate) {
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			chain = append(chain, c)
		}
	}
	return chain
}

// expiryNotice is how long before its expiry a certificate gets a warning.
const expiryNotice = 14 * 24 * time.Hour

// CertificateWarnings says why clients may not take a certificate with which the hub can
// start.
func CertificateWarnings(path string, pair *tls.Certificate, now time.Time) (texts []string) {
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return []string{fmt.Sprintf("%s: %v", path, err)}
	}
	const layout = "2006-01-02 15:04 UTC"
	switch {
	case now.After(leaf.NotAfter):
		texts = append(texts, fmt.Sprintf("%s has run out, on %s: renew it", path, leaf.NotAfter.UTC().Format(layout)))
	case now.Before(leaf.NotBefore):
		texts = append(texts, fmt.Sprintf("%s is good only from %s on: is this machine's clock right?", path, leaf.NotBefore.UTC().Format(layout)))
	case leaf.NotAfter.Sub(leaf.NotBefore) > 2*expiryNotice && leaf.NotAfter.Sub(now) < expiryNotice:
		texts = append(texts, fmt.Sprintf("%s runs out soon, on %s: renew it", path, leaf.NotAfter.UTC().Format(layout)))
	}
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		what := "has no subjectAltName"
		if leaf.IsCA {
			what = "is a CA's and has no subjectAltName"
		}
		texts = append(texts, fmt.Sprintf("%s %s, so no client will take it: make it with the names and addresses that clients use: openssl req … -addext subjectAltName=DNS:NAME,IP:ADDRESS", path, what))
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		texts = append(texts, fmt.Sprintf("%s is not for a server (extendedKeyUsage), so no client will take it: make it with serverAuth", path))
	}
	if leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		texts = append(texts, fmt.Sprintf("%s may not sign (keyUsage), as TLS 1.3 must: make it with digitalSignature", path))
	}
	return texts
}

// PortRemedy says what to do where a TCP address cannot be listened on for want of rights,
// or is not this machine's; "" if err is something else.
func PortRemedy(err error) string {
	switch {
	case errors.Is(err, unix.EACCES):
		return "this user may not open a port below net.ipv4.ip_unprivileged_port_start (1024): choose a higher one, or give besterd CAP_NET_BIND_SERVICE (AmbientCapabilities= in its unit)"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return "no interface of this machine has this address now: see ip address"
	case errors.Is(err, unix.EAFNOSUPPORT):
		return "this machine has no IPv6: remove the listener"
	}
	return ""
}
