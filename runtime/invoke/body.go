package invoke

import "io"

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

// A WholeBody is a Body whose rest may be there already, so that a codec can
// put it behind its head in one write and needs no goroutine to carry it.
type WholeBody interface {
	Body
	// Whole returns all that is left to read, if that is there now and no
	// trailers follow. It does not read: Read still gives the same bytes. They
	// must not be changed and are good until Close, or until the call whose
	// body it is has been answered or has failed.
	Whole() (rest []byte, ok bool)
}

// Whole is what is left of b, if all of it is there now and no trailers follow;
// nothing for a nil b. See WholeBody.
func Whole(b Body) (rest []byte, ok bool) {
	if b == nil {
		return nil, true
	}
	if w, has := b.(WholeBody); has {
		return w.Whole()
	}
	return nil, false
}

// A HeldBody is a Body that knows how much of it waits in memory.
type HeldBody interface {
	Body
	// Held is how many bytes are left to read, if all of them are in memory. It
	// may be asked while nobody reads.
	Held() (n int64, ok bool)
}

// Held is how many bytes of b are left to read, if all of them are in memory;
// none of a nil b.
func Held(b Body) (n int64, ok bool) {
	if b == nil {
		return 0, true
	}
	if h, has := b.(HeldBody); has {
		return h.Held()
	}
	return 0, false
}

// A LinedBody is a Body that came on a line with others, which have a bound
// together.
type LinedBody interface {
	Body
	// Line is the line, and how many bytes of all that came on it and were not
	// read may wait in memory.
	Line() (line any, most int64)
}

// Line is the line of b; nil if it has none.
func Line(b Body) (line any, most int64) {
	if l, has := b.(LinedBody); has {
		return l.Line()
	}
	return nil, 0
}

// BytesBody is data, which must not be changed any more, as a Body without
// trailers. BytesBody(nil) is the empty body an Answer has when there is none.
func BytesBody(data []byte) Body {
	if len(data) == 0 {
		return emptyBody{}
	}
	return &bytesBody{rest: data}
}

type bytesBody struct{ rest []byte }

func (b *bytesBody) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

func (b *bytesBody) Close() error          { return nil }
func (b *bytesBody) Trailers() Fields      { return nil }
func (b *bytesBody) Whole() ([]byte, bool) { return b.rest, true }
func (b *bytesBody) Held() (int64, bool)   { return int64(len(b.rest)), true }

type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }
func (emptyBody) Trailers() Fields         { return nil }
func (emptyBody) Whole() ([]byte, bool)    { return nil, true }
func (emptyBody) Held() (int64, bool)      { return 0, true }
