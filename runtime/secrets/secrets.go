// Package secrets is the secrets building block of one sidecar: what both doors
// call. Its stores are those of Dapr's resources.
package secrets

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/pillion-dev/pillion/internal/daprerr"
	"github.com/pillion-dev/pillion/runtime/config"
)

// A Block is the block with the stores it has been given last. Its zero value
// has none. Every error it returns is a *daprerr.Error without a secret's value.
// It is safe for concurrent use.
type Block struct {
	now atomic.Pointer[stores]
}

type stores struct {
	byName map[string]*config.SecretStore
	scopes map[string]config.SecretScope
}

// Use puts stores in the place of those there are. Scopes say, by a store's
// name, which secrets the app may ask for; of a store without one, all.
func (b *Block) Use(all []*config.SecretStore, scopes map[string]config.SecretScope) {
	s := &stores{byName: make(map[string]*config.SecretStore, len(all)), scopes: scopes}
	for _, store := range all {
		s.byName[store.Name] = store
	}
	b.now.Store(s)
}

// Get returns the values of a secret by their keys.
func (b *Block) Get(store, name string) (map[string]string, error) {
	s, from, err := b.find(store)
	if err != nil {
		return nil, err
	}
	if !s.allows(store, name) {
		return nil, denied(store, name)
	}
	values, err := from.Get(name)
	switch {
	case err == nil:
		return values, nil
	case errors.Is(err, config.ErrNoSecret) && fromEnvironment(from):
		return map[string]string{name: ""}, nil // as Dapr's: a variable that is not there is empty
	case errors.Is(err, config.ErrNoSecret):
		err = fmt.Errorf("secret %s not found", name)
	}
	return nil, notGot(fmt.Sprintf("failed getting secret with key %s from secret store %s: %s", name, store, err))
}

// Bulk returns all secrets of a store that the app may ask for.
func (b *Block) Bulk(store string) (map[string]map[string]string, error) {
	s, from, err := b.find(store)
	if err != nil {
		return nil, err
	}
	all := make(map[string]map[string]string)
	for _, name := range from.Names() {
		if !s.allows(store, name) {
			continue
		}
		if all[name], err = from.Get(name); err != nil {
			return nil, notGot(fmt.Sprintf("failed getting secrets from secret store %s: %s", store, err))
		}
	}
	return all, nil
}

func (b *Block) find(store string) (*stores, *config.SecretStore, error) {
	s := b.now.Load()
	if s == nil || len(s.byName) == 0 {
		return nil, nil, failed(http.StatusInternalServerError, daprerr.GRPCFailedPrecondition,
			"ERR_SECRET_STORES_NOT_CONFIGURED", "secret store is not configured")
	}
	found := s.byName[store]
	if found == nil {
		return nil, nil, failed(http.StatusUnauthorized, daprerr.GRPCInvalidArgument,
			"ERR_SECRET_STORE_NOT_FOUND", "failed finding secret store with key "+store)
	}
	return s, found, nil
}

func (s *stores) allows(store, name string) bool {
	scope, given := s.scopes[store]
	return !given || scope.Allows(name)
}

func fromEnvironment(s *config.SecretStore) bool {
	return strings.EqualFold(s.Type, "secretstores.local.env")
}

func denied(store, name string) error {
	return failed(http.StatusForbidden, daprerr.GRPCPermissionDenied,
		"ERR_PERMISSION_DENIED", fmt.Sprintf("access denied by policy to get %q from %q", name, store))
}

func notGot(message string) error {
	return failed(http.StatusInternalServerError, daprerr.GRPCInternal, "ERR_SECRET_GET", message)
}

// failed is an error that has no details at either door.
func failed(status int, grpc uint32, code, message string) error {
	return &daprerr.Error{
		HTTP: status, GRPC: grpc, Code: code, Message: message, OverGRPC: &daprerr.Error{GRPC: grpc, Message: message},
	}
}
