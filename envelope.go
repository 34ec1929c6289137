package fanfare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// The body of a message is an envelope around the payload, written once and
// never changed. After the version byte come: microseconds since 1970 of the
// dispatch, the attempts of the event plus one (0: unlimited, 1: the handler's
// limit), the content type, the number of headers, each header's key and value, and then the payload up to
// the end. Numbers are unsigned varints, strings have their length in front; the
// content type of JSON is written as the empty string.
const envelopeVersion = 1

// envelope is what is stored of an event besides its id, times and priority.
type envelope struct {
	dispatchedAt time.Time
	maxAttempts  int
	contentType  string
	headers      map[string]string
	payload      []byte
}

// errEnvelope reports bytes that are no envelope of a known version.
var errEnvelope = errors.New("malformed envelope")

func (e envelope) encode() []byte {
	contentType := e.contentType
	if contentType == JSON.Name() {
		contentType = ""
	}
	b := make([]byte, 0, 32+len(contentType)+len(e.payload))
	b = append(b, envelopeVersion)
	b = binary.AppendUvarint(b, uint64(max(e.dispatchedAt.UnixMicro(), 0)))
	b = binary.AppendUvarint(b, uint64(e.maxAttempts-Unlimited))
	b = appendString(b, contentType)
	b = binary.AppendUvarint(b, uint64(len(e.headers)))
	for _, k := range sortedKeys(e.headers) {
		b = appendString(b, k)
		b = appendString(b, e.headers[k])
	}
	return append(b, e.payload...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func sortedKeys(m map[string]string) []string {
	if len(m) == 0 {
		return nil
	}
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// decodeEnvelope returns the envelope in b. Its payload is part of b. It needs
// memory in proportion to b, whatever b says.
func decodeEnvelope(b []byte) (envelope, error) {
	if len(b) == 0 {
		return envelope{}, fmt.Errorf("%w: empty", errEnvelope)
	}
	if b[0] != envelopeVersion {
		return envelope{}, fmt.Errorf("%w: version %d, want %d", errEnvelope, b[0], envelopeVersion)
	}
	r := envelopeReader{rest: b[1:]}
	e := envelope{
		dispatchedAt: time.UnixMicro(int64(r.number(math.MaxInt64))),
		maxAttempts:  int(r.number(math.MaxInt32)) + Unlimited,
		contentType:  r.text(),
	}
	if e.contentType == "" {
		e.contentType = JSON.Name()
	}
	n := r.number(uint64(len(r.rest)))
	if n > 0 && !r.bad {
		e.headers = make(map[string]string, min(n, 64))
	}
	for range n {
		if r.bad {
			break
		}
		k := r.text()
		e.headers[k] = r.text()
	}
	if r.bad {
		return envelope{}, errEnvelope
	}
	e.payload = r.rest
	return e, nil
}

// envelopeReader reads fields from the front of rest until one is bad.
type envelopeReader struct {
	rest []byte
	bad  bool
}

func (r *envelopeReader) number(limit uint64) uint64 {
	v, n := binary.Uvarint(r.rest)
	if r.bad || n <= 0 || v > limit {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *envelopeReader) text() string {
	n := r.number(uint64(len(r.rest)))
	if r.bad || n > uint64(len(r.rest)) {
		r.bad = true
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}
