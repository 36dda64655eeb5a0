package invoke

import (
	"bytes"
	"io"
)

// NewBody is rc as a Body. trailers, which may be nil, is asked only after Read
// has returned io.EOF.
func NewBody(rc io.ReadCloser, trailers func() Fields) Body {
	return &streamBody{rc: rc, trailers: trailers}
}

type streamBody struct {
	rc       io.ReadCloser
	trailers func() Fields
	ended    bool // touched by the reader only
}

func (b *streamBody) Read(p []byte) (int, error) {
	n, err := b.rc.Read(p)
	if err == io.EOF {
		b.ended = true
	}
	return n, err
}

func (b *streamBody) Close() error { return b.rc.Close() }

func (b *streamBody) Trailers() Fields {
	if !b.ended || b.trailers == nil {
		return nil
	}
	return b.trailers()
}

// BytesBody is data, which must not be changed any more, as a Body without
// trailers. BytesBody(nil) is the empty body an Answer has when there is none.
func BytesBody(data []byte) Body {
	if len(data) == 0 {
		return emptyBody{}
	}
	return NewBody(io.NopCloser(bytes.NewReader(data)), nil)
}

type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }
func (emptyBody) Trailers() Fields         { return nil }
