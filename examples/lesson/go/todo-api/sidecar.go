package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// sidecar calls other apps, and keeps state, through the sidecar on localhost.
// It is plain HTTP: the same requests work on Dapr.
type sidecar struct {
	base    string
	timeout string
}

func newSidecar() *sidecar {
	port := os.Getenv("DAPR_HTTP_PORT")
	if port == "" {
		port = "3500"
	}
	timeout := os.Getenv("CALL_TIMEOUT")
	if timeout == "" {
		timeout = "5s"
	}
	return &sidecar{base: "http://127.0.0.1:" + port, timeout: timeout}
}

// invoke uses the path form, /v1.0/invoke/{app-id}/method/{method}.
func (s *sidecar) invoke(ctx context.Context, appID, method string, body any) (string, error) {
	return s.do(ctx, "/v1.0/invoke/"+appID+"/method/"+method, "", body)
}

// post uses the header form: any path, and dapr-app-id says whose.
func (s *sidecar) post(ctx context.Context, appID, path string, body any) (string, error) {
	return s.do(ctx, path, appID, body)
}

// saveState keeps value, as JSON, under key of a state store.
func (s *sidecar) saveState(ctx context.Context, store, key string, value any) error {
	_, err := s.do(ctx, "/v1.0/state/"+store, "", []map[string]any{{"key": key, "value": value}})
	return err
}

// getState reads what was saved into value. It reports false if there is
// nothing.
func (s *sidecar) getState(ctx context.Context, store, key string, value any) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/v1.0/state/"+store+"/"+url.PathEscape(key), nil)
	if err != nil {
		return false, err
	}
	answer, err := s.send(req)
	if err != nil || answer == "" {
		return false, err
	}
	return true, json.Unmarshal([]byte(answer), value)
}

func (s *sidecar) do(ctx context.Context, path, appID string, body any) (string, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if appID != "" {
		req.Header.Set("dapr-app-id", appID)
	}
	return s.send(req)
}

func (s *sidecar) send(req *http.Request) (string, error) {
	req.Header.Set("pillion-timeout", s.timeout) // the sidecar gives up after this
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end or of no interest
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return "", err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return "", failure(resp.StatusCode, answer)
	}
	return strings.TrimSpace(string(answer)), nil
}

// A reason is which of the lesson's failures it was.
type reason int

const (
	other reason = iota
	notFound
	refused
	timedOut
)

// callError is an answer that was not a success.
type callError struct {
	status  int
	code    string // Dapr's errorCode; empty if the app itself answered
	message string
}

func (e *callError) Error() string {
	if e.code == "" {
		return fmt.Sprintf("answered %d: %s", e.status, e.message)
	}
	return e.code + ": " + e.message
}

func failure(status int, body []byte) error {
	var e struct{ ErrorCode, Message string }
	if json.Unmarshal(body, &e) == nil && e.ErrorCode != "" {
		return &callError{status, e.ErrorCode, e.Message}
	}
	return &callError{status: status, message: strings.TrimSpace(string(body))}
}

// reasonOf tells the three failures apart by the message alone, which is what
// every SDK shows; so it works on Dapr too.
func reasonOf(err error) reason {
	var e *callError
	if !errors.As(err, &e) {
		return other
	}
	switch {
	case strings.Contains(e.message, "couldn't find service"):
		return notFound
	case strings.Contains(e.message, "connection refused"):
		return refused
	case strings.Contains(strings.ToLower(e.message), "deadline"):
		return timedOut
	default:
		return other
	}
}
