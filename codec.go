package fanfare

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Codec turns payloads into bytes for durable dispatchers. The default is
// [JSON]. []byte and string payloads bypass it: they are kept as they are.
type Codec interface {
	// Name identifies the encoding. It is stored with each event: 1 to 255
	// bytes, never changed, such as a media type.
	Name() string
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes into the pointer v. data must not be kept.
	Unmarshal(data []byte, v any) error
}

// JSON is the codec of package encoding/json. Numbers that are decoded into an
// interface become json.Number, so that no integer loses digits.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) Name() string                  { return "application/json" }
func (jsonCodec) Marshal(v any) ([]byte, error) { return json.Marshal(v) }

func (jsonCodec) Unmarshal(data []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.InputOffset() < int64(len(bytes.TrimRight(data, " \t\r\n"))) {
		return fmt.Errorf("data after the end of the JSON value at byte %d", d.InputOffset())
	}
	return nil
}

// The names under which payloads that need no codec are stored.
const (
	typeBytes = "application/octet-stream"
	typeText  = "text/plain"
)

// encodePayload returns the bytes of an event and the name of their encoding.
func encodePayload(c Codec, event any) ([]byte, string, error) {
	switch v := event.(type) {
	case []byte:
		return v, typeBytes, nil
	case string:
		return []byte(v), typeText, nil
	case Encoded: // forwarded from another dispatcher
		return v.data, v.contentType, nil
	}
	data, err := c.Marshal(event)
	if err != nil {
		return nil, "", fmt.Errorf("encode %T as %s: %w", event, c.Name(), err)
	}
	return data, c.Name(), nil
}

// Encoded is the payload of an event from a durable dispatcher, before it is
// decoded. A handler may dispatch it as it is to any dispatcher. It prints
// without its content.
type Encoded struct {
	contentType string
	data        []byte
	codec       Codec
}

// ContentType returns the name of the encoding: that of a [Codec],
// "application/octet-stream" for []byte, or "text/plain" for string.
func (e Encoded) ContentType() string { return e.contentType }

// Bytes returns the encoded payload. It must not be changed.
func (e Encoded) Bytes() []byte { return e.data }

// Decode decodes the payload into the pointer v, of whatever type the handler
// wants. Its error matches ErrDecode.
func (e Encoded) Decode(v any) error {
	switch p := v.(type) {
	case *Encoded:
		*p = e
		return nil
	case *[]byte:
		*p = bytes.Clone(e.data)
		return nil
	case *string:
		if e.contentType == typeText || e.contentType == typeBytes {
			*p = string(e.data)
			return nil
		}
	case *any:
		switch e.contentType {
		case typeText:
			*p = string(e.data)
			return nil
		case typeBytes:
			*p = bytes.Clone(e.data)
			return nil
		}
	}
	c := e.codec
	if c == nil || e.contentType == JSON.Name() {
		c = JSON
	}
	if c.Name() != e.contentType {
		return fmt.Errorf("content type %s, want %s: %w", quoteName(e.contentType), c.Name(), ErrDecode)
	}
	if err := c.Unmarshal(e.data, v); err != nil {
		return fmt.Errorf("%w into %T: %s", ErrDecode, v, withoutPayload(err))
	}
	return nil
}

// withoutPayload says what is wrong with a payload, and nothing of what it holds:
// decoders quote it in their errors, and errors are logged and stored.
func withoutPayload(err error) string {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) {
		kind, _, _ := strings.Cut(wrong.Value, " ")
		return fmt.Sprintf("JSON %s at byte %d for %s of type %v", kind, wrong.Offset, quoteName(wrong.Field), wrong.Type)
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("malformed JSON at byte %d", syntax.Offset)
	}
	return fmt.Sprintf("%T", err)
}

// String describes the payload without showing it.
func (e Encoded) String() string {
	return fmt.Sprintf("%s of %d bytes", quoteName(e.contentType), len(e.data))
}

// GoString is String, so that no verb of package fmt prints the payload.
func (e Encoded) GoString() string { return e.String() }

// Decode returns the event that an untyped handler got as a T: the value
// itself where it is one, else what it decodes to. In process a value of
// another type goes through [JSON] and back. Its error matches ErrDecode; a
// handler that returns it sends the event to the dead letters, as undecodable.
func Decode[T any](event any) (T, error) {
	var v T
	switch e := event.(type) {
	case Encoded: // before T, which may be an interface
		return v, e.Decode(&v)
	case T:
		return e, nil
	case *T:
		if e != nil {
			return *e, nil
		}
	}
	data, contentType, err := encodePayload(JSON, event)
	if err != nil {
		return v, fmt.Errorf("%w: %w", ErrDecode, err)
	}
	return v, Encoded{contentType: contentType, data: data}.Decode(&v)
}

// truncate makes s valid UTF-8 of at most n bytes.
func truncate(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
