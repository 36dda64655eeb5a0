package h2

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/net/http2"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// Floods: frames that serve nothing, and requests taken back.
const (
	uselessLimit = 10_000
	// resetBurst requests may be taken back at once; each that is carried out,
	// and each hundredth of a second, allows another.
	resetBurst = 1000
	resetRate  = 100
)

// read handles what comes, until the connection ends or the peer breaks the
// protocol.
func (c *conn) read() error {
	for {
		fh, err := c.fr.ReadFrameHeader()
		if err == nil {
			err = c.frame(fh)
		}
		if c.armed {
			c.disarm()
		}
		if err == nil {
			continue
		}
		fault, ok := asFault(err)
		if !ok {
			return c.ending(err)
		}
		c.reject(fault)
	}
}

// asFault is err, if it concerns one stream only.
func asFault(err error) (*streamFault, bool) {
	if fault, ok := errors.AsType[*streamFault](err); ok {
		return fault, true
	}
	if se, ok := errors.AsType[http2.StreamError](err); ok {
		return &streamFault{se.StreamID, se.Code, "a malformed frame"}, true
	}
	return nil, false
}

// ending is err as why the connection ends.
func (c *conn) ending(err error) error {
	if ce, ok := errors.AsType[http2.ConnectionError](err); ok {
		what := ce.Error()
		if detail := c.fr.ErrorDetail(); detail != nil {
			what = detail.Error()
		}
		return violated(http2.ErrCode(ce), "%s", what)
	}
	switch {
	case errors.Is(err, http2.ErrFrameTooLarge):
		return violated(http2.ErrCodeFrameSize, "a frame that is too large")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the peer has closed the connection: %w", err)
	}
	return err
}

// reject resets the stream that the peer got wrong.
func (c *conn) reject(f *streamFault) {
	e := &Error{Code: f.code, Err: f}
	if s := c.stream(f.id); s != nil {
		s.reset(f.code, e)
		s.fail(e)
		return
	}
	c.mu.Lock()
	c.queueNumber(http2.FrameRSTStream, f.id, uint32(f.code))
	c.kick()
	flooded := len(c.out) > flood
	c.mu.Unlock()
	if flooded {
		c.end(violated(http2.ErrCodeEnhanceYourCalm, "the peer does not read what it asks for"))
	}
}

// arm bounds the wait for the rest of what has begun.
func (c *conn) arm() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.armed || c.cause() != nil {
		return
	}
	c.armed = true
	_ = c.nc.SetReadDeadline(time.Now().Add(greetTime)) // a closed one fails the next read
}

// disarm ends that bound once it is all there.
func (c *conn) disarm() {
	if !c.greeted || c.block.id != 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.armed = false
	if c.cause() == nil {
		_ = c.nc.SetReadDeadline(time.Time{}) // a closed one fails the next read
	}
}

// beforeRead wakes those something has come for.
func (c *conn) beforeRead() {
	for i, s := range c.due {
		c.due[i] = nil
		s.due = false
		s.owner.wake()
	}
	c.due = c.due[:0]
}

// wakeSoon has s woken before the reader waits.
func (c *conn) wakeSoon(s *stream) {
	if !s.due {
		s.due = true
		c.due = append(c.due, s)
	}
}

// frame reads and handles the frame of a header.
func (c *conn) frame(fh http2.FrameHeader) error {
	if !c.greeted && fh.Type != http2.FrameSettings {
		return violated(http2.ErrCodeProtocol, "%s before SETTINGS", fh.Type)
	}
	switch fh.Type { //nolint:exhaustive // the two that come most: the library's frames cost an allocation each
	case http2.FrameData:
		return c.data(fh)
	case http2.FrameWindowUpdate:
		return c.windowUpdate(fh)
	}
	if c.src.buffered() < int(fh.Length) {
		c.arm()
	}
	f, err := c.fr.ReadFrameForHeader(fh)
	if err != nil {
		return err
	}
	switch f := f.(type) {
	case *http2.HeadersFrame:
		c.block.begin(f.StreamID, f.StreamEnded())
		return c.fragment(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.ContinuationFrame:
		return c.fragment(f.HeaderBlockFragment(), f.HeadersEnded())
	case *http2.RSTStreamFrame:
		return c.resetByPeer(f)
	case *http2.SettingsFrame:
		return c.settings(f)
	case *http2.PingFrame:
		return c.ping(f)
	case *http2.GoAwayFrame:
		c.role.left(f.LastStreamID, f.ErrCode)
		return c.uselessFrame()
	case *http2.PushPromiseFrame:
		return violated(http2.ErrCodeProtocol, "PUSH_PROMISE")
	default:
		return c.uselessFrame()
	}
}

// fragment takes a part of a header block.
func (c *conn) fragment(b []byte, last bool) error {
	if err := c.block.add(b); err != nil {
		return err
	}
	if !last {
		c.arm()
		return nil
	}
	id := c.block.id
	if err := c.block.finish(); err != nil {
		return err
	}
	c.block.stream = id
	return c.role.headers(c.block)
}

// uselessFrame counts a frame that served nothing.
func (c *conn) uselessFrame() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.useless++; c.useless > uselessLimit {
		return violated(http2.ErrCodeEnhanceYourCalm, "nothing but frames that serve nothing")
	}
	return nil
}

// useful notes that the peer is after something.
func (c *conn) useful() {
	c.mu.Lock()
	c.useless = 0
	c.mu.Unlock()
}

func (c *conn) settings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	if c.greeted {
		if err := c.uselessFrame(); err != nil {
			return err
		}
	}
	c.greeted = true
	if err := f.ForeachSetting(c.setting); err != nil {
		return err
	}
	if err := c.control(http2.FrameSettings, http2.FlagSettingsAck, 0, nil); err != nil {
		return err
	}
	c.role.settled()
	return nil
}

func (c *conn) setting(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s.ID {
	case http2.SettingHeaderTableSize:
		c.enc.hp.SetMaxDynamicTableSize(min(s.Val, tableSize))
	case http2.SettingMaxConcurrentStreams:
		c.peerMax = s.Val
	case http2.SettingInitialWindowSize:
		more := int64(s.Val) - c.peerWindow
		c.peerWindow = int64(s.Val)
		for _, st := range c.streams {
			if st.window += more; st.window > maxWindow {
				return violated(http2.ErrCodeFlowControl, "a window that is too large")
			}
		}
		c.letOn()
	default: // does not concern what we send
	}
	return nil
}

// maxWindow is the largest window there may be.
const maxWindow = 1<<31 - 1

func (c *conn) windowUpdate(fh http2.FrameHeader) error {
	if fh.Length != 4 {
		return violated(http2.ErrCodeFrameSize, "a WINDOW_UPDATE of %d bytes", fh.Length)
	}
	more := int64(0)
	for range 4 {
		b, err := c.src.next(1)
		if err != nil {
			return err
		}
		more = more<<8 | int64(b[0])
	}
	more &= maxWindow // the first bit is reserved
	switch {
	case more == 0 && fh.StreamID == 0:
		return violated(http2.ErrCodeProtocol, "a window of nothing")
	case more == 0:
		return &streamFault{fh.StreamID, http2.ErrCodeProtocol, "a window of nothing"}
	}
	return c.widen(fh.StreamID, more)
}

// widen notes that the peer takes more on a stream, or on the connection.
func (c *conn) widen(id uint32, more int64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if id == 0 {
		if c.window += more; c.window > maxWindow {
			return violated(http2.ErrCodeFlowControl, "a window that is too large")
		}
		c.letOn()
		return nil
	}
	s := c.streams[id]
	if s == nil {
		if c.role.idle(id) {
			return violated(http2.ErrCodeProtocol, "WINDOW_UPDATE of a stream that has not begun")
		}
		return nil
	}
	if s.window += more; s.window > maxWindow {
		return &streamFault{s.id, http2.ErrCodeFlowControl, "a window that is too large"}
	}
	if s.blocked {
		c.letOn()
	}
	return nil
}

func (c *conn) ping(f *http2.PingFrame) error {
	if f.IsAck() {
		c.role.ponged(f.Data)
		return nil
	}
	if err := c.uselessFrame(); err != nil {
		return err
	}
	return c.control(http2.FramePing, http2.FlagPingAck, 0, f.Data[:])
}

func (c *conn) resetByPeer(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	s := c.streams[f.StreamID]
	if s == nil {
		idle := c.role.idle(f.StreamID)
		c.mu.Unlock()
		if idle {
			return violated(http2.ErrCodeProtocol, "RST_STREAM of a stream that has not begun")
		}
		return c.uselessFrame()
	}
	e := &Error{Code: f.ErrCode, Reset: true, Err: http2.StreamError{StreamID: s.id, Code: f.ErrCode}}
	e.Evidence.Refused = f.ErrCode == http2.ErrCodeRefusedStream
	c.forget(s)
	s.stopLocked(e)
	c.mu.Unlock()
	s.fail(e)
	return c.role.tookBack()
}

// data reads a DATA frame into its stream's inbox, as it comes.
func (c *conn) data(fh http2.FrameHeader) error {
	left, padding := int(fh.Length), 0
	if fh.StreamID == 0 {
		return violated(http2.ErrCodeProtocol, "DATA without a stream")
	}
	if c.unpaid.Add(int64(left)) > connWindow {
		return violated(http2.ErrCodeFlowControl, "more data than the connection's window")
	}
	if fh.Flags.Has(http2.FlagDataPadded) {
		if left == 0 {
			return violated(http2.ErrCodeFrameSize, "padding without a length")
		}
		b, err := c.src.next(1)
		if err != nil {
			return err
		}
		c.giveBack(1)
		padding = int(b[0])
		if left--; padding > left {
			return violated(http2.ErrCodeProtocol, "more padding than there is room for")
		}
	}
	s, err := c.receiver(fh, left-padding)
	if err != nil {
		return errors.Join(c.skip(left), err)
	}
	if err := c.receive(s, left-padding, padding); err != nil {
		return err
	}
	if s != nil && fh.Flags.Has(http2.FlagDataEndStream) {
		return c.gotEnd(s, nil)
	}
	if left == padding {
		return c.uselessFrame()
	}
	return nil
}

// receiver is the stream of a DATA frame with n bytes; nil if it is over on
// this side.
func (c *conn) receiver(fh http2.FrameHeader, n int) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n > 0 {
		c.useless = 0
	}
	s := c.streams[fh.StreamID]
	switch {
	case s == nil && c.role.idle(fh.StreamID):
		return nil, violated(http2.ErrCodeProtocol, "DATA of a stream that has not begun")
	case s != nil && s.gotEnd:
		return nil, &streamFault{s.id, http2.ErrCodeStreamClosed, "DATA behind the end"}
	case s != nil && s.owner.headless():
		return nil, &streamFault{s.id, http2.ErrCodeProtocol, "DATA before a head"}
	}
	return s, nil
}

// receive reads n bytes into s's inbox and skips padding.
func (c *conn) receive(s *stream, n, padding int) error {
	for n > 0 {
		b, err := c.src.next(n)
		if err != nil {
			return err
		}
		n -= len(b)
		unread := len(b)
		if s != nil {
			var fault *streamFault
			if unread, fault = s.in.put(b, n); fault != nil {
				fault.id = s.id
				c.giveBack(len(b))
				return errors.Join(c.skip(n+padding), fault)
			}
			c.wakeSoon(s)
		}
		c.held.Add(int64(len(b) - unread))
		c.returnWindow(len(b), unread)
	}
	return c.skip(padding)
}

// returnWindow gives the connection's window back as data comes, unless too
// much is waiting to be read.
func (c *conn) returnWindow(came, unread int) {
	if c.held.Load() <= heldLimit {
		c.giveBack(came)
		return
	}
	c.withheld.Add(int64(came - unread))
	c.giveBack(unread)
}

// skip drops n bytes that belong to nobody.
func (c *conn) skip(n int) error {
	c.giveBack(n)
	for n > 0 {
		b, err := c.src.next(n)
		if err != nil {
			return err
		}
		n -= len(b)
	}
	return nil
}

// gotEnd notes that the peer's direction has ended.
func (c *conn) gotEnd(s *stream, trailers invoke.Fields) error {
	if fault := s.in.end(trailers); fault != nil {
		fault.id = s.id
		return fault
	}
	c.mu.Lock()
	s.gotEnd = true
	if s.sentEnd {
		c.forget(s)
	}
	c.mu.Unlock()
	c.wakeSoon(s)
	return nil
}
