package cmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/runtime/config"
)

// How long `--wait` waits, how often it asks, and how long one answer may take,
// as daprd has them; and how often it says that it still waits.
const (
	waitLimitDaprd = 60 * time.Second
	waitPause      = 100 * time.Millisecond
	waitAnswer     = 500 * time.Millisecond
	waitSay        = time.Second
)

// wait asks the sidecar on the HTTP port whether it can carry calls, until it
// can.
func (d *daprd) wait(ctx context.Context) error {
	cfg, _, unread := d.config(given(d.cmd))
	if unread != nil {
		return unread
	}
	ctx, cancel := context.WithTimeout(ctx, waitLimitDaprd)
	defer cancel()
	client, url := outboundOf(cfg)
	defer client.CloseIdleConnections()
	d.c.Err.Say(ui.NoMark, fmt.Sprintf("Waiting for Dapr to be outbound ready (timeout: %d seconds): url=%s", int(waitLimitDaprd.Seconds()), url))
	pause := time.NewTicker(waitPause)
	defer pause.Stop()
	for said := time.Now(); ; {
		err := outboundReady(ctx, client, url)
		if err == nil {
			d.c.Err.Say(ui.NoMark, "Dapr is outbound ready!")
			return nil
		}
		if time.Since(said) >= waitSay {
			said = time.Now()
			d.c.Err.Say(ui.NoMark, "Dapr outbound NOT ready yet: "+err.Error())
		}
		select {
		case <-pause.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			d.c.Err.Say(ui.NoMark, "timeout waiting for Dapr to become outbound ready. Last error: "+err.Error())
			return errFatal
		}
	}
}

// outboundOf is how the sidecar that cfg describes is asked.
func outboundOf(cfg config.Sidecar) (client *http.Client, url string) {
	transport := &http.Transport{}
	client = &http.Client{Timeout: waitAnswer, Transport: transport}
	if cfg.UnixDomainSocket != "" {
		path := filepath.Join(cfg.UnixDomainSocket, "dapr-"+cfg.AppID+"-http.socket")
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", path)
		}
		return client, "http://localhost/v1.0/healthz/outbound"
	}
	return client, fmt.Sprintf("http://localhost:%d/v1.0/healthz/outbound", cfg.HTTPPort)
}

func outboundReady(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(req)
	if err != nil {
		return err
	}
	_ = answer.Body.Close() // only the status counts
	if answer.StatusCode != http.StatusNoContent {
		return fmt.Errorf("HTTP status code %d", answer.StatusCode)
	}
	return nil
}
