package app

import (
	"io"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

// upgrade makes the Answer of a 101: from here on the connection is two byte
// streams. The protocol that the app chose stays in the fields, for it is what
// the client has to be told.
func (x *exchange) upgrade(head answerHead) *invoke.Answer {
	protocol := head.upgrade
	if protocol == "" {
		protocol = x.handover.call.Upgrade
	}
	head.fields.Add("Upgrade", protocol)
	ans := x.handover.reply(head)
	x.plain = plainBody{exchange: x, left: -1, tunnel: true}
	ans.Length, ans.Body, ans.Upgraded = -1, &x.plain, &tunnel{conn: x.conn}
	return ans
}

// tunnel is the client's direction after an upgrade.
type tunnel struct{ conn *conn }

func (t *tunnel) Write(p []byte) (int, error) { return t.conn.Write(p) }

// CloseWrite half-closes the connection to the app.
func (t *tunnel) CloseWrite() error {
	if half, ok := t.conn.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return io.ErrClosedPipe
}
