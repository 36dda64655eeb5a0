package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/httpapi"
	"github.com/pillion-dev/pillion/runtime/state"
	"github.com/pillion-dev/pillion/runtime/state/memory"
	"github.com/pillion-dev/pillion/runtime/state/redis"
	"github.com/pillion-dev/pillion/runtime/state/sqlite"
)

const (
	// builtInStore is the state store of an app that was given none.
	builtInStore = "statestore"
	// defaultInit bounds a store's first contact, as Dapr's.
	defaultInit = 5 * time.Second
	// stateClose bounds the wait for the stores at the end.
	stateClose = 2 * time.Second
)

// A stateDriver makes the store of a component. It reads what the component
// says, and opens nothing: that is for the first call.
type stateDriver func(config.Component) (state.Store, error)

// stateDrivers are the state stores there are, by the component's type. To add
// one: write the package, add the line, and its name in runtime/config.
func stateDrivers() map[string]stateDriver {
	return map[string]stateDriver{
		"state.in-memory": func(config.Component) (state.Store, error) { return memory.New(nil), nil },
		"state.sqlite": func(c config.Component) (state.Store, error) {
			cfg, err := sqlite.FromMetadata(c.Metadata)
			return sqlite.New(cfg), err
		},
		"state.redis": func(c config.Component) (state.Store, error) {
			cfg, err := redis.FromMetadata(c.Name, c.Metadata)
			return redis.New(cfg), err
		},
	}
}

// unkept are Dapr's metadata of any state store that promise what is not here:
// without a word, secrets would lie in plain text, and messages would not be
// sent.
var unkept = map[string]string{
	"primaryEncryptionKey":   "this version does not encrypt state",
	"secondaryEncryptionKey": "this version does not encrypt state",
	"outboxPublishPubsub":    "this version has no pub/sub, and so no outbox",
}

// newStore makes the store of a component, and how the block knows it.
func newStore(c config.Component) (state.Component, error) {
	made, err := stateDrivers()[strings.ToLower(c.Type)](c)
	for _, name := range slices.Sorted(maps.Keys(unkept)) {
		if _, given := c.Property(name); given {
			err = errors.Join(err, fmt.Errorf("%s: %s", name, unkept[name]))
		}
	}
	prefix, _ := c.Property("keyPrefix")
	return state.Component{Name: c.Name, Type: c.Type, Version: c.Version, KeyPrefix: prefix, Store: made}, err
}

func isStore(c config.Component) bool {
	return c.Unusable == "" && stateDrivers()[strings.ToLower(c.Type)] != nil
}

// judgeStores checks what the components of state stores say. One whose errors
// are to be ignored cannot be used then.
func (r *resources) judgeStores() error {
	var errs []error
	for i := range r.Components {
		c := &r.Components[i]
		if !isStore(*c) {
			continue
		}
		made, err := newStore(*c)
		err = errors.Join(err, state.CheckPrefix(made.KeyPrefix), made.Store.Close())
		switch {
		case err == nil:
		case c.IgnoreErrors:
			c.Unusable = strings.ReplaceAll(err.Error(), "\n", "; ")
			r.doubt(c.At + ": the component " + c.Name + " cannot be used: " + c.Unusable)
		default:
			errs = append(errs, wrong(c.At, "the component "+c.Name+": "+strings.ReplaceAll(err.Error(), "\n", "; ")))
		}
	}
	return errors.Join(errs...)
}

// openState makes the state building block, and has it follow the resources.
func (s *sidecar) openState(ctx context.Context) error {
	s.state = state.New(state.Config{
		App: s.cfg.AppID, Namespace: s.stateNamespace(), Logger: s.log,
		// The one place where policies of components and their measurements go
		// around an operation; what is measured is what the app waits for.
		Around: s.aroundState(),
	})
	stores := s.storesOf(s.resources.current())
	if err := s.mountStores(nil, stores); err != nil {
		return err
	}
	if s.cfg.Profile.StrictComponents {
		if err := s.contactStores(ctx, stores); err != nil {
			return err
		}
	}
	s.resources.onChange(func(old, now *resources) {
		if err := s.mountStores(s.storesOf(old), s.storesOf(now)); err != nil {
			s.log.Error("a changed state store is not used", "err", err) // they have been judged
		}
	})
	return nil
}

// stateNamespace is the namespace that keys may begin with: none for the default
// one, unless somebody chose it in daprd's place, where it counts.
func (s *sidecar) stateNamespace() string {
	if s.cfg.Namespace == defaultNamespace && (s.cfg.Profile.LoopbackDoors || !s.cfg.NamespaceGiven) {
		return ""
	}
	return s.cfg.Namespace
}

// storesOf are the components that are state stores, by name: those of the
// resources, and the built-in one if there is no component of its name.
func (s *sidecar) storesOf(r *resources) map[string]config.Component {
	stores := map[string]config.Component{}
	for _, c := range r.Components {
		if isStore(c) {
			c.At = "" // where it stands is no part of what it says
			stores[c.Name] = c
		}
	}
	if file := s.stateFile(); file != "" && r.component(builtInStore) == nil {
		stores[builtInStore] = config.Component{
			Name: builtInStore, Type: "state.sqlite", Version: "v1",
			Metadata: map[string]string{"connectionString": sqlite.FilePath(file), "keyPrefix": "namespace"},
		}
	}
	return stores
}

// stateFile is where the built-in store keeps its items; "" if there is none.
func (s *sidecar) stateFile() string {
	switch {
	case s.cfg.StateFile != "":
		if absolute, err := filepath.Abs(s.cfg.StateFile); err == nil {
			return absolute
		}
		return s.cfg.StateFile
	case s.cfg.Profile.HomeResources && s.env.Home.Path != "":
		return s.env.Home.State()
	}
	return ""
}

// mountStores has the block know what differs between two sets of stores.
func (s *sidecar) mountStores(old, now map[string]config.Component) error {
	for name := range old {
		if _, stays := now[name]; !stays {
			s.state.Unmount(name)
		}
	}
	var errs []error
	for name, c := range now {
		if before, was := old[name]; was && reflect.DeepEqual(before, c) {
			continue
		}
		made, err := newStore(c)
		if err == nil {
			err = s.state.Mount(made)
		}
		if err == nil {
			s.metrics.ComponentLoaded(c.Type)
		} else {
			s.metrics.ComponentFailed(c.Type, name, "creation")
			errs = append(errs, fmt.Errorf("state store %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// A pinger is a store that can say whether it can be used.
type pinger interface{ Ping(context.Context) error }

// contactStores ends the start, as daprd does, with a store that cannot be used,
// unless its component says to go on: then its calls fail until it can. In front
// of a person the first call tells.
func (s *sidecar) contactStores(ctx context.Context, stores map[string]config.Component) error {
	for name, c := range stores {
		err := s.contact(ctx, c)
		switch {
		case err == nil:
		case c.IgnoreErrors:
			s.metrics.ComponentFailed(c.Type, name, "init")
			s.say(Notice{Kind: Warning, Text: "the state store " + name + " cannot be used yet", Cause: err.Error()})
		default:
			return &apperr.Error{
				Reason: apperr.OwnConfig, Err: err, What: "the state store " + name + " cannot be used", Cause: err.Error(),
				Hint: "start its server, or set ignoreErrors: true in the component to go on without it",
			}
		}
	}
	return nil
}

// contact has a store of its own look, so that the one in use opens nothing
// before its first call.
func (s *sidecar) contact(ctx context.Context, c config.Component) (err error) {
	made, err := newStore(c)
	if err != nil {
		return err
	}
	p, can := made.Store.(pinger)
	if !can {
		return made.Store.Close()
	}
	bound := c.InitTimeout
	if bound == 0 {
		bound = defaultInit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bound, fmt.Errorf("no answer within its initTimeout of %v", bound))
	defer cancel()
	err = p.Ping(ctx)
	return errors.Join(err, made.Store.Close())
}

// closeState closes the stores; nobody asks for them any more.
func (s *sidecar) closeState(ctx context.Context) {
	if s.state == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stateClose)
	defer cancel()
	if err := s.state.Close(ctx); err != nil {
		s.log.Warn("the end does not wait for state stores", "err", err)
	}
}

// storesToTell are the state stores as metadata has them, by name.
func (s *sidecar) storesToTell() map[string]httpapi.Component {
	out := map[string]httpapi.Component{}
	for _, info := range s.state.Stores() {
		out[info.Name] = httpapi.Component(info)
	}
	return out
}
