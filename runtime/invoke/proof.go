package invoke

import "github.com/pillion-dev/pillion/internal/apperr"

// Reached is the one function that decides whether a failed attempt may have
// been handed to the app. Only four facts prove that it was not: no byte of it
// was written, the peer had not greeted, somebody on the way refused it, or it
// is numbered above the last call a leaving peer took.
func (e Evidence) Reached() apperr.Reached {
	if e.NotWritten || e.NotGreeted || e.Refused || e.AboveLeaving {
		return apperr.ReachedNo
	}
	return apperr.ReachedMaybe
}
