package httpapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/pillion-dev/pillion/runtime/h1"
	"github.com/pillion-dev/pillion/runtime/invoke"
	"github.com/pillion-dev/pillion/runtime/state"
)

func (q *apiRequest) getState() h1.Reply {
	item, err := q.cfg.State.Get(q.r.Context(), q.param("store"), state.Get{
		Key:         q.param("key"),
		Consistency: state.Consistency(q.r.URL.Query().Get("consistency")),
		Metadata:    q.metadata(),
	})
	switch {
	case err != nil:
		return blockError(err)
	case !item.Exists():
		return noContent()
	}
	fields := invoke.Fields{{Name: "Content-Type", Value: "application/json"}, {Name: "Etag", Value: item.ETag}}
	for _, name := range slices.Sorted(maps.Keys(item.Metadata)) {
		fields.Add(metadataPrefix+name, item.Metadata[name])
	}
	return h1.Reply{Status: http.StatusOK, Fields: fields, Body: item.Value}
}

func (q *apiRequest) deleteState() h1.Reply {
	query := q.r.URL.Query()
	options := stateOptions{Concurrency: query.Get("concurrency"), Consistency: query.Get("consistency")}
	err := q.cfg.State.Delete(q.r.Context(), q.param("store"), state.Delete{
		Key: q.param("key"), ETag: ifMatch(q.r), Metadata: q.metadata(), Options: options.options(),
	})
	if err != nil {
		return blockError(err)
	}
	return noContent()
}

// ifMatch is the ETag that must be there, as it was written; nil if none was.
func ifMatch(r *http.Request) *string {
	values, said := r.Header["If-Match"]
	if !said {
		return nil
	}
	return &values[0]
}

// stateOptions are the options of a request, as JSON has them.
type stateOptions struct {
	Concurrency string `json:"concurrency"`
	Consistency string `json:"consistency"`
}

func (o stateOptions) options() state.Options {
	return state.Options{Concurrency: state.Concurrency(o.Concurrency), Consistency: state.Consistency(o.Consistency)}
}

// A stateItem is an item to save, or in a transaction one to delete. The value
// is kept as it was written.
type stateItem struct {
	Key      string            `json:"key"`
	Value    json.RawMessage   `json:"value"`
	ETag     *string           `json:"etag"`
	Metadata map[string]string `json:"metadata"`
	Options  stateOptions      `json:"options"`
}

// set is the item with the request's metadata, which count more than its own.
// No value is the value null.
func (i stateItem) set(metadata map[string]string) state.Set {
	value := i.Value
	if value == nil {
		value = json.RawMessage("null")
	}
	merged := metadata
	if i.Metadata != nil {
		merged = i.Metadata
		maps.Copy(merged, metadata)
	}
	return state.Set{Key: i.Key, Value: value, ETag: i.ETag, Metadata: merged, Options: i.Options.options()}
}

func (q *apiRequest) saveState() h1.Reply {
	var items []stateItem
	if err := q.decode(&items, "[]state.SetRequest"); err != nil {
		// Without the words in front, as Dapr says it.
		return q.notState(basicError(http.StatusBadRequest, codeMalformed, err.Error()))
	}
	metadata := q.metadata()
	sets := make([]state.Set, len(items))
	for i, item := range items {
		sets[i] = item.set(metadata)
	}
	if err := q.cfg.State.Save(q.r.Context(), q.param("store"), sets); err != nil {
		return blockError(err)
	}
	return noContent()
}

// notState is the answer to a body that could not be read: reply, unless the
// store is not there, which counts first.
func (q *apiRequest) notState(reply h1.Reply) h1.Reply {
	if err := q.cfg.State.Save(q.r.Context(), q.param("store"), nil); err != nil {
		return blockError(err)
	}
	return reply
}

// A bulkItem is the answer for one key of many.
type bulkItem struct {
	Key      string            `json:"key"`
	Data     json.RawMessage   `json:"data,omitempty"`
	ETag     string            `json:"etag,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Error    string            `json:"error,omitempty"`
}

func bulkItemOf(item state.BulkItem) bulkItem {
	switch {
	case item.Err != nil:
		return bulkItem{Key: item.Key, Error: item.Err.Error()}
	case len(item.Value) > 0 && !json.Valid(item.Value):
		// Saved over gRPC. Dapr's answer is then empty as a whole.
		return bulkItem{Key: item.Key, Error: "the value is not JSON: get it by itself", ETag: item.ETag}
	}
	return bulkItem{Key: item.Key, Data: item.Value, ETag: item.ETag, Metadata: item.Metadata}
}

func (q *apiRequest) bulkGetState() h1.Reply {
	var asked struct {
		Keys        []string          `json:"keys"`
		Parallelism int               `json:"parallelism"`
		Metadata    map[string]string `json:"metadata"`
	}
	if err := q.decode(&asked, "http.BulkGetRequest"); err != nil {
		return q.notState(malformed(err))
	}
	metadata := q.metadata()
	if asked.Metadata != nil {
		maps.Copy(asked.Metadata, metadata)
		metadata = asked.Metadata
	}
	items, err := q.cfg.State.BulkGet(q.r.Context(), q.param("store"), state.BulkGet{Keys: asked.Keys, Metadata: metadata})
	if err != nil {
		return blockError(err)
	}
	answer := make([]bulkItem, len(items))
	for i, item := range items {
		answer[i] = bulkItemOf(item)
	}
	return encoded(http.StatusOK, nil, answer)
}

func (q *apiRequest) transactState() h1.Reply {
	var asked struct {
		Operations []struct {
			Operation string    `json:"operation"`
			Request   stateItem `json:"request"`
		} `json:"operations"`
		Metadata map[string]string `json:"metadata"` // means nothing to the stores there are
	}
	if err := q.decode(&asked, "http.stateTransactionRequestBody"); err != nil {
		return q.notState(malformed(err))
	}
	metadata := q.metadata()
	steps := make([]state.Step, len(asked.Operations))
	for i, o := range asked.Operations {
		steps[i] = state.Step{Operation: o.Operation, Item: o.Request.set(metadata)}
	}
	if err := q.cfg.State.Transact(q.r.Context(), q.param("store"), steps); err != nil {
		return blockError(err)
	}
	return noContent()
}

// queryState is Dapr's alpha API.
func (q *apiRequest) queryState() h1.Reply {
	if reply, ok := q.skipBody(); !ok {
		return reply
	}
	if err := q.cfg.State.Query(q.r.Context(), q.param("store")); err != nil {
		return blockError(err)
	}
	return noContent()
}
