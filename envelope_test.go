package fanfare

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestEnvelopeRoundTrip(t *testing.T) {
	for _, e := range []envelope{
		{dispatchedAt: time.UnixMilli(1), contentType: "application/json", payload: []byte(`{"a":1}`)},
		{dispatchedAt: time.UnixMicro(1763700000123456), maxAttempts: Unlimited, contentType: typeBytes, payload: bytes.Repeat([]byte{0xff, 0}, 50_000)},
		{dispatchedAt: time.UnixMilli(0), maxAttempts: 1 << 30, contentType: "x", headers: map[string]string{"a": "", "ü": "\x00\xff"}, payload: []byte{}},
	} {
		got, err := decodeEnvelope(e.encode())
		require.NoError(t, err)
		require.Equal(t, e, got)
	}
}

func TestEnvelopeIsSmall(t *testing.T) {
	e := envelope{dispatchedAt: time.UnixMicro(1763700000123456), contentType: "application/json", payload: make([]byte, 100)}
	require.LessOrEqual(t, len(e.encode()), 112)
}

func TestMalformedEnvelopesAreRefused(t *testing.T) {
	good := envelope{dispatchedAt: time.UnixMilli(1), contentType: "x", headers: map[string]string{"a": "b"}}.encode()
	for n := range good {
		_, err := decodeEnvelope(good[:n])
		require.ErrorIs(t, err, errEnvelope, n)
	}
	_, err := decodeEnvelope(append([]byte{envelopeVersion + 1}, good[1:]...))
	require.ErrorContains(t, err, "version 2, want 1")
}

func FuzzDecodeEnvelope(f *testing.F) {
	f.Add(envelope{dispatchedAt: time.UnixMilli(1), contentType: "x", headers: map[string]string{"a": "b"}, payload: []byte("p")}.encode())
	f.Add([]byte{envelopeVersion, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := decodeEnvelope(b)
		if err != nil {
			return
		}
		size := len(e.payload)
		for k, v := range e.headers {
			size += len(k) + len(v) + 2
		}
		if size > len(b) || e.contentType != JSON.Name() && size+len(e.contentType) > len(b) {
			t.Fatalf("%d bytes hold %d headers and more, %d bytes in all", len(b), len(e.headers), size)
		}
		again, err := decodeEnvelope(e.encode())
		if err != nil {
			t.Fatal(err)
		}
		require.Equal(t, e, again)
	})
}

func TestTruncateKeepsTextValid(t *testing.T) {
	require.Equal(t, "abc", truncate("abc", 3))
	require.Equal(t, "ab", truncate("abü", 3))
	require.Equal(t, "a?b", truncate("a\xff\xfeb", 10))
	require.Equal(t, "", truncate("ü", 1))
}

func TestBackoffs(t *testing.T) {
	for _, tt := range []struct {
		backoff  Backoff
		failures int
		min, max time.Duration
	}{
		{NoBackoff(), 1, 0, 0},
		{Fixed(time.Second), 7, time.Second, time.Second},
		{Exponential(time.Second, time.Minute, 0), 1, time.Second, time.Second},
		{Exponential(time.Second, time.Minute, 0), 3, 4 * time.Second, 4 * time.Second},
		{Exponential(time.Second, time.Minute, 0), 7, time.Minute, time.Minute},
		{Exponential(time.Second, time.Minute, 0.5), 6, 16 * time.Second, 32 * time.Second},
		{Exponential(time.Second, time.Minute, 1), 6, 0, 32 * time.Second},
		{Exponential(time.Second, time.Minute, 0.5), math.MaxInt32, 30 * time.Second, time.Minute}, // must not overflow
		{Exponential(time.Second, math.MaxInt64, 0), 1000, math.MaxInt64, math.MaxInt64},
		{Exponential(time.Minute, time.Second, 0), 1, time.Second, time.Second},
	} {
		for range 100 {
			if d := tt.backoff(tt.failures); d < tt.min || d > tt.max {
				t.Fatalf("backoff(%d) = %v, want %v to %v", tt.failures, d, tt.min, tt.max)
			}
		}
	}
}
