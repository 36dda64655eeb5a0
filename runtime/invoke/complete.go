package invoke

// A CompleteBody is a WholeBody whose trailers may be there too, as a unary
// gRPC answer's are, so that a codec can write head, body and trailers at once.
type CompleteBody interface {
	Body
	// Complete is Whole with the trailers that follow. It does not read: Read
	// still gives the same bytes, and Trailers the same lines behind them.
	Complete() (rest []byte, trailers Fields, ok bool)
}

// Complete is what is left of b and the trailers behind it, if all of it is
// there now; nothing for a nil b. See WholeBody for how long it is good.
func Complete(b Body) (rest []byte, trailers Fields, ok bool) {
	if c, has := b.(CompleteBody); has {
		return c.Complete()
	}
	rest, ok = Whole(b)
	return rest, nil, ok
}
