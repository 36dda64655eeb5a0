package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	client "github.com/redis/go-redis/v9"

	"github.com/pillion-dev/pillion/runtime/state"
)

// bulkKeys are the keys that are asked for in one go.
const bulkKeys = 500

// Get returns the item under r.Key.
func (s *Store) Get(ctx context.Context, r state.Get) (state.Item, error) {
	items, err := s.BulkGet(ctx, []state.Get{r})
	if err != nil {
		return state.Item{}, err
	}
	return items[0].Item, s.explain(items[0].Err)
}

// BulkGet returns an answer for each request.
func (s *Store) BulkGet(ctx context.Context, r []state.Get) ([]state.BulkItem, error) {
	if len(r) == 0 {
		return nil, nil
	}
	return do(ctx, s, lost, func(ctx context.Context, c *client.Client) ([]state.BulkItem, error) {
		all := make([]state.BulkItem, 0, len(r))
		for len(r) > len(all) {
			part := r[len(all):min(len(all)+bulkKeys, len(r))]
			items, err := s.read(ctx, c, part)
			if err != nil {
				return nil, err
			}
			all = append(all, items...)
		}
		return all, nil
	})
}

// read asks for some keys at once.
func (s *Store) read(ctx context.Context, c *client.Client, part []state.Get) ([]state.BulkItem, error) {
	type answer struct {
		fields *client.SliceCmd
		life   *client.DurationCmd
	}
	pipe := c.Pipeline()
	answers := make([]answer, len(part))
	for i := range part {
		answers[i] = answer{pipe.HMGet(ctx, part[i].Key, "data", "version"), pipe.PTTL(ctx, part[i].Key)}
	}
	if _, err := pipe.Exec(ctx); err != nil && !isAnswer(err) {
		return nil, err
	}
	items := make([]state.BulkItem, len(part))
	for i := range part {
		items[i].Key = part[i].Key
		fields, err := answers[i].fields.Result()
		if isWrongType(err) {
			items[i].Item, err = plain(ctx, c, part[i].Key)
			if err != nil && !isAnswer(err) {
				return nil, err
			}
		} else if err == nil {
			items[i].Item, err = item(fields)
		}
		items[i].Err = err
		if items[i].Exists() {
			items[i].Metadata = s.expiry(answers[i].life.Val())
		}
	}
	return items, nil
}

// isAnswer reports whether an error is the server's answer to one command, so
// that those to others stand.
func isAnswer(err error) bool {
	answer, is := errors.AsType[client.Error](err)
	return is && answer != nil && !isLoading(err)
}

func isWrongType(err error) bool { return client.HasErrorPrefix(err, "WRONGTYPE") }

// item reads Dapr's hash.
func item(fields []any) (state.Item, error) {
	if len(fields) != 2 {
		return state.Item{}, fmt.Errorf("%d fields, and 2 were asked for", len(fields))
	}
	value, hasValue := fields[0].(string)
	etag, hasETag := fields[1].(string)
	switch {
	case !hasValue && !hasETag:
		return state.Item{}, nil
	case !hasETag:
		etag = unversioned
	}
	return state.Item{Value: []byte(value), ETag: etag}, nil
}

// unversioned is the ETag of what has no version: others have written it.
const unversioned = "0"

// plain reads a key that is no hash: a text that another program has put there.
func plain(ctx context.Context, c *client.Client, key string) (state.Item, error) {
	value, err := c.Get(ctx, key).Bytes()
	switch {
	case errors.Is(err, client.Nil):
		return state.Item{}, nil // gone in between
	case err != nil:
		return state.Item{}, err
	}
	return state.Item{Value: value, ETag: unversioned}, nil
}

// expiry is the metadata of an item that has so long to live; Redis says less
// than zero of one that lives for ever.
func (s *Store) expiry(life time.Duration) map[string]string {
	if life <= 0 {
		return nil
	}
	return map[string]string{state.MetadataTTLExpireTime: s.now().Add(life).UTC().Format(time.RFC3339)}
}

// connectedReplicas asks the server how many replicas it has.
func connectedReplicas(ctx context.Context, c *client.Client) (int, error) {
	info, err := c.Info(ctx, "replication").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if count, isIt := strings.CutPrefix(strings.TrimSpace(line), "connected_slaves:"); isIt {
			return strconv.Atoi(count)
		}
	}
	return 0, nil
}
