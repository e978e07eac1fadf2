package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"strings"
	"time"
)

const (
	caLife   = 30 * 365 * 24 * time.Hour // agents pin it; nothing else limits their stay
	leafLife = 90 * 24 * time.Hour
	// skew is how far behind an agent's clock may be when it first connects.
	skew = 24 * time.Hour
)

// leaf is a certificate of the broker's.
type leaf struct {
	cert  *tls.Certificate
	renew time.Time
}

func newCA(now time.Time) (certPEM, keyPEM string, err error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", "", err
	}
	serial, err := serialNumber()
	if err != nil {
		return "", "", err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "riposte fleet"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, pub, key)
	if err != nil {
		return "", "", err
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	return encodePEM("CERTIFICATE", der), encodePEM("PRIVATE KEY", k), nil
}

func parseCA(certPEM, keyPEM string) (*x509.Certificate, any, error) {
	pair, err := tls.X509KeyPair([]byte(certPEM), []byte(keyPEM))
	if err != nil {
		return nil, nil, err
	}
	if !pair.Leaf.IsCA {
		return nil, nil, errors.New("its certificate is not an authority's")
	}
	return pair.Leaf, pair.PrivateKey, nil
}

// Certificate makes a certificate for a broker under these names, as PEM: the
// chain and the private key.
func (a *Authority) Certificate(names []string, life time.Duration) (chain, key []byte, err error) {
	c, err := a.certificate(names, life)
	if err != nil {
		return nil, nil, err
	}
	k, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return nil, nil, err
	}
	for _, der := range c.Certificate {
		chain = append(chain, encodePEM("CERTIFICATE", der)...)
	}
	return chain, []byte(encodePEM("PRIVATE KEY", k)), nil
}

func (a *Authority) certificate(names []string, life time.Duration) (*tls.Certificate, error) {
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := serialNumber()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "riposte broker"},
		NotBefore: now.Add(-skew), NotAfter: now.Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature,
		// The nodes of a cluster are each other's clients.
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if t.NotAfter.After(a.ca.NotAfter) {
		t.NotAfter = a.ca.NotAfter
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.ca, pub, a.caKey)
	if err != nil {
		return nil, fmt.Errorf("make the broker's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("make the broker's certificate: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.ca.Raw}, PrivateKey: crypto.PrivateKey(key), Leaf: leaf}, nil
}

// ServerTLS is the broker's side: TLS 1.3. The certificate is made in memory and
// renewed when less than a third of its life is left, however long the broker
// runs: agents pin the CA, and no private key lies on the disk.
func (a *Authority) ServerTLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			a.mu.Lock()
			defer a.mu.Unlock()
			if now := time.Now(); a.leaf == nil || !now.Before(a.leaf.renew) {
				c, err := a.certificate(a.names, leafLife)
				if err != nil {
					return nil, err
				}
				a.leaf = &leaf{cert: c, renew: now.Add(leafLife * 2 / 3)}
			}
			return a.leaf.cert, nil
		},
	}
}

// CAPEM is the certificate that agents pin.
func (a *Authority) CAPEM() []byte { return a.caPEM }

// ClientTLS is the other side: TLS 1.3, and no other CA than the authority's.
func (a *Authority) ClientTLS() *tls.Config { return pinned(a.ca) }

// pinned trusts one CA and no other.
func pinned(ca *x509.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool}
}

// checkNames finds names that no certificate can hold.
func checkNames(names []string) error {
	for _, n := range names {
		if net.ParseIP(n) != nil {
			continue
		}
		if n == "" || len(n) > 253 || strings.ContainsFunc(n, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_' || r == '*')
		}) {
			return fmt.Errorf("%q is neither a DNS name nor an address: give the names of the broker without port", n)
		}
	}
	return nil
}

func serialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}

func encodePEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
