package fanfare_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/gomodule/redigo/redis"
	"github.com/stretchr/testify/require"

	"github.com/fanfare-go/fanfare"
	"github.com/fanfare-go/fanfare/internal/behaviour"
	"github.com/fanfare-go/fanfare/internal/testsvc"
)

// authority signs the certificates of a test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return authority{certificate, key}
}

// issue returns a certificate for the host, an address, until the given time.
func (a authority) issue(t *testing.T, host string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(mathrand.Int64()), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.ParseIP(host)},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, &key.PublicKey, a.key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// trusted returns a configuration of a client that trusts a, and shows certificates.
func (a authority) trusted(shown ...tls.Certificate) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.certificate)
	return &tls.Config{RootCAs: pool, Certificates: shown}
}

// startTLS starts a Redis that shows a certificate, and returns its rediss:// URL.
func startTLS(t *testing.T, a authority, shown tls.Certificate, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	key, err := x509.MarshalPKCS8PrivateKey(shown.PrivateKey)
	require.NoError(t, err)
	port := freePort(t)
	testsvc.StartRedis(t, append([]string{
		"--tls-port", port,
		"--tls-cert-file", write("cert", "CERTIFICATE", shown.Certificate[0]),
		"--tls-key-file", write("key", "PRIVATE KEY", key),
		"--tls-ca-cert-file", write("ca", "CERTIFICATE", a.certificate.Raw),
	}, args...)...)
	return "rediss://127.0.0.1:" + port
}

// freePort returns a port below those that the kernel and testsvc choose from.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		port := strconv.Itoa(10_000 + mathrand.IntN(10_000))
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", port)); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	t.Fatal("no free port")
	return ""
}

// TestRedisOverTLS connects to real servers with good and bad certificates.
func TestRedisOverTLS(t *testing.T) {
	t.Parallel()
	a, stranger, day := newAuthority(t), newAuthority(t), time.Now().Add(24*time.Hour)
	good := startTLS(t, a, a.issue(t, "127.0.0.1", day), "--tls-auth-clients", "no")
	mutual := startTLS(t, a, a.issue(t, "127.0.0.1", day), "--tls-auth-clients", "yes")
	for name, tt := range map[string]struct {
		url    string
		client *tls.Config
		ok     bool
		want   any // of errors.As
	}{
		"good":               {good, a.trusted(), true, nil},
		"unknown authority":  {good, stranger.trusted(), false, new(x509.UnknownAuthorityError)},
		"system's roots":     {good, nil, false, new(x509.UnknownAuthorityError)},
		"another host":       {startTLS(t, a, a.issue(t, "127.0.0.2", day), "--tls-auth-clients", "no"), a.trusted(), false, new(x509.HostnameError)},
		"expired":            {startTLS(t, a, a.issue(t, "127.0.0.1", time.Now().Add(-time.Hour)), "--tls-auth-clients", "no"), a.trusted(), false, new(x509.CertificateInvalidError)},
		"mutual":             {mutual, a.trusted(a.issue(t, "127.0.0.1", day)), true, nil},
		"mutual, none shown": {mutual, a.trusted(), false, nil},
		"mutual, strange":    {mutual, a.trusted(stranger.issue(t, "127.0.0.1", day)), false, nil},
	} {
		var opts []redis.DialOption
		if tt.client != nil {
			opts = append(opts, redis.DialTLSConfig(tt.client))
		}
		client, err := fanfare.DialRedis(tt.url, opts...)
		require.NoError(t, err, name)
		t.Cleanup(func() { client.Close() })
		d, err := fanfare.NewRedis(client)
		require.NoError(t, err, name)
		behaviour.StopWith(t, d)
		topic, got := fanfare.NewTopic[int](name), behaviour.NewReceived[int]()
		_, err = topic.Register(t.Context(), d, func(_ context.Context, n int) error { got.Add(n); return nil })
		if !tt.ok {
			require.Error(t, err, name)
			if tt.want != nil {
				require.ErrorAs(t, err, tt.want, name)
				require.ErrorIs(t, err, fanfare.ErrUnavailable, "%s: nothing was sent", name)
			}
			continue
		}
		require.NoError(t, err, name)
		require.NoError(t, topic.Dispatch(t.Context(), d, 7), name)
		require.Equal(t, []int{7}, got.Wait(t, 1), name)
	}
}

// A server that knows only TLS 1.1 is refused.
func TestOldTLSIsRefused(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{a.issue(t, "127.0.0.1", time.Now().Add(time.Hour))},
		MinVersion:   tls.VersionTLS10, MaxVersion: tls.VersionTLS11,
	})
	require.NoError(t, err)
	handshake := make(chan error, 1)
	go func() { // ends with the listener
		conn, err := l.Accept()
		if err == nil {
			err = conn.(*tls.Conn).HandshakeContext(context.Background())
			conn.Close()
		}
		handshake <- err
	}()
	client, err := fanfare.DialRedis("rediss://"+l.Addr().String(), redis.DialTLSConfig(a.trusted()))
	require.NoError(t, err)
	defer client.Close()
	_, err = client.Do(t.Context(), "PING")
	require.ErrorIs(t, err, fanfare.ErrUnavailable)
	l.Close()
	err = <-handshake
	require.Error(t, err)
	require.False(t, errors.Is(err, net.ErrClosed), "the client spoke")
}
