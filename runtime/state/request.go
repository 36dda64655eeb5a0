package state

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Metadata of a request that means something to every store.
const (
	metadataTTL         = "ttlInSeconds"
	metadataContentType = "contentType"
)

// prepare checks an operation's options, and reads its time to live.
func (op Operation) prepare() error {
	if op.Delete != nil {
		return op.Delete.Options.check()
	}
	if err := op.Set.Options.check(); err != nil {
		return err
	}
	ttl, err := parseTTL(op.Set.Metadata)
	op.Set.TTL = ttl
	return err
}

func (o Options) check() error {
	switch o.Consistency {
	case "", Eventual, Strong:
	default:
		return fmt.Errorf("unrecognized consistency model '%s'", o.Consistency)
	}
	switch o.Concurrency {
	case "", FirstWrite, LastWrite:
	default:
		return fmt.Errorf("unrecognized concurrency model '%s'", o.Concurrency)
	}
	return nil
}

// parseTTL reads how long an item lives: 0 if nothing is said, NoExpiry for
// Dapr's -1 and 0.
func parseTTL(metadata map[string]string) (time.Duration, error) {
	text := metadata[metadataTTL]
	if text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("error parsing TTL: incorrect value for metadata '%s': %w", metadataTTL, err)
	case seconds < -1 || seconds > math.MaxInt32:
		return 0, fmt.Errorf("error parsing TTL: incorrect value for metadata '%s': must be between -1 and %d",
			metadataTTL, math.MaxInt32)
	case seconds <= 0:
		return NoExpiry, nil
	default:
		return time.Duration(seconds) * time.Second, nil
	}
}

// checkJSON refuses a value that its metadata calls JSON and that is none.
func checkJSON(item Set) error {
	if item.Metadata[metadataContentType] != "application/json" {
		return nil
	}
	var value json.RawMessage
	if err := json.Unmarshal(item.Value, &value); err != nil {
		return notJSON(err)
	}
	return nil
}
