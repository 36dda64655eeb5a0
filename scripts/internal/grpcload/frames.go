package grpcload

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// A frame is one that was read.
type frame struct {
	kind    http2.FrameType
	flags   http2.Flags
	stream  uint32
	payload []byte
}

var errFrame = errors.New("a frame that is too short")

// take does what a frame asks for.
func (s *session) take(f frame, t *tally) error {
	switch f.kind {
	case http2.FrameSettings:
		return s.settings(f)
	case http2.FramePing:
		if !f.flags.Has(http2.FlagPingAck) {
			s.head(len(f.payload), http2.FramePing, http2.FlagPingAck, 0)
			s.out = append(s.out, f.payload...)
		}
	case http2.FrameWindowUpdate:
		return s.widen(f)
	case http2.FrameGoAway:
		s.leaving = true
	case http2.FrameRSTStream:
		if c := s.find(f.stream); c != nil && len(f.payload) == 4 {
			s.end(c, t, "stream reset: "+http2.ErrCode(binary.BigEndian.Uint32(f.payload)).String())
		}
	case http2.FrameHeaders, http2.FrameContinuation:
		return s.fieldBlock(f, t)
	case http2.FrameData:
		return s.data(f, t)
	default: // priorities and what we do not know
	}
	return nil
}

func (s *session) settings(f frame) error {
	if f.flags.Has(http2.FlagSettingsAck) {
		return nil
	}
	for p := f.payload; len(p) >= 6; p = p[6:] {
		if http2.SettingID(binary.BigEndian.Uint16(p)) != http2.SettingInitialWindowSize {
			continue
		}
		first := int64(binary.BigEndian.Uint32(p[2:]))
		for _, c := range s.calls {
			c.window += first - s.firstWindow
		}
		s.firstWindow = first
	}
	s.head(0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	s.sendAll()
	return nil
}

func (s *session) widen(f frame) error {
	if len(f.payload) != 4 {
		return errFrame
	}
	n := int64(binary.BigEndian.Uint32(f.payload) & (1<<31 - 1))
	if f.stream == 0 {
		s.window += n
		s.sendAll()
		return nil
	}
	if c := s.find(f.stream); c != nil {
		c.window += n
		s.send(c)
	}
	return nil
}

func (s *session) sendAll() {
	for _, c := range s.calls {
		s.send(c)
	}
}

// fieldBlock decodes a head or trailers. Every block is decoded, also one of a
// call that has ended, for the table's sake.
func (s *session) fieldBlock(f frame, t *tally) error {
	block := f.payload
	if f.kind == http2.FrameHeaders {
		var err error
		if block, err = firstBlock(f); err != nil {
			return err
		}
		if s.current = s.find(f.stream); s.current != nil {
			s.current.last = f.flags.Has(http2.FlagHeadersEndStream)
		}
	}
	_, err := s.decoder.Write(block)
	if err == nil && f.flags.Has(http2.FlagHeadersEndHeaders) {
		err = s.decoder.Close()
	}
	if err != nil {
		return fmt.Errorf("a head that cannot be decoded: %w", err)
	}
	if c := s.current; c != nil && c.last && f.flags.Has(http2.FlagHeadersEndHeaders) {
		s.end(c, t, c.failure())
	}
	return nil
}

// firstBlock is what of a head's first frame is to be decoded.
func firstBlock(f frame) ([]byte, error) {
	block, err := unpad(f)
	if err != nil || !f.flags.Has(http2.FlagHeadersPriority) {
		return block, err
	}
	if len(block) < 5 {
		return nil, errFrame
	}
	return block[5:], nil
}

// field takes one field of the head that is being decoded.
func (s *session) field(f hpack.HeaderField) {
	if s.current == nil {
		return
	}
	switch f.Name {
	case ":status":
		s.current.http = f.Value
	case "grpc-status":
		s.current.status = f.Value
	case "grpc-message":
		s.current.said = f.Value
	}
}

// failure says why an answer is not a good one.
func (c *call) failure() string {
	switch {
	case c.http != "200":
		return "HTTP status " + c.http
	case c.status != "0":
		return "gRPC status " + c.status + " " + c.said
	case c.received < 5:
		return "no message"
	}
	return ""
}

func (s *session) data(f frame, t *tally) error {
	p, err := unpad(f)
	if err != nil {
		return err
	}
	if s.consumed += len(f.payload); s.consumed >= connCredit {
		s.credit(uint32(s.consumed)) //nolint:gosec // half a window and a frame
		s.consumed = 0
	}
	c := s.find(f.stream)
	if c == nil {
		return nil
	}
	c.received += len(p)
	if f.flags.Has(http2.FlagDataEndStream) {
		s.end(c, t, "no trailers")
	}
	return nil
}

func unpad(f frame) ([]byte, error) {
	if !f.flags.Has(http2.FlagDataPadded) { // the same bit for both kinds
		return f.payload, nil
	}
	if len(f.payload) == 0 || len(f.payload) < 1+int(f.payload[0]) {
		return nil, errFrame
	}
	return f.payload[1 : len(f.payload)-int(f.payload[0])], nil
}
