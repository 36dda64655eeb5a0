package sidecar

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pillion-dev/pillion/internal/apperr"
	"github.com/pillion-dev/pillion/internal/lifecycle"
	"github.com/pillion-dev/pillion/runtime/access"
	"github.com/pillion-dev/pillion/runtime/config"
	"github.com/pillion-dev/pillion/runtime/external"
	"github.com/pillion-dev/pillion/runtime/filewatch"
	"github.com/pillion-dev/pillion/runtime/middleware"
	"github.com/pillion-dev/pillion/runtime/resiliency"
)

// resources are what Dapr's files say to the app: a snapshot, which nobody
// changes.
type resources struct {
	config.Resources
	Configuration config.Configuration
	// policy is that of the Configuration's access control; nil for none.
	policy *access.Policy
	// pipeline is the Configuration's httpPipeline; nil if nothing is in it.
	pipeline middleware.Handler
	// policies are what the resiliencies say.
	policies *resiliency.Set
	targets  *policyTargets
	// doubts are what a person should look at.
	doubts []Notice
}

// A resourceKeeper keeps the resources that count, and reads them anew when
// their files change. What is wrong stays out: then those from before count.
type resourceKeeper struct {
	read func() (*resources, error)
	say  func(Notice)
	now  atomic.Pointer[resources]

	mu        sync.Mutex // guards what follows; held while listeners are told
	listeners []func(old, new *resources)
	said      map[string]bool // the doubts that were told
	failed    string          // what was wrong last
}

// current are the resources that count now.
func (k *resourceKeeper) current() *resources { return k.now.Load() }

// onChange has f called each time other resources count, one call after the
// other. f must bear resources that are not other for it, and must not block
// for long.
func (k *resourceKeeper) onChange(f func(old, new *resources)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.listeners = append(k.listeners, f)
}

// begin reads the resources for the first time.
func (k *resourceKeeper) begin() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	first, err := k.read()
	if err != nil {
		return err
	}
	k.now.Store(first)
	k.tell(first)
	return nil
}

// reload reads the resources anew.
func (k *resourceKeeper) reload() {
	k.mu.Lock()
	defer k.mu.Unlock()
	old := k.now.Load()
	if old == nil || !old.has(featureReload) {
		return // not read yet, or Dapr's feature flag says not to
	}
	now, err := k.read()
	if err == nil {
		err = now.unfinished(old)
	}
	if err != nil {
		k.refuse(err)
		return
	}
	k.failed = ""
	k.tell(now)
	changes := changesOf(old, now)
	if len(changes) == 0 {
		return
	}
	k.now.Store(now)
	for _, f := range k.listeners {
		f(old, now)
	}
	k.say(Notice{Text: "resources read anew", Facts: changes})
}

// unfinished reports a file of the Configuration that says nothing any more:
// somebody is writing it, and it does not mean that everything is allowed.
func (r *resources) unfinished(old *resources) error {
	for _, file := range r.Configuration.Silent {
		if !slices.Contains(old.Configuration.Silent, file) {
			return wrong(file, "it says nothing any more; one that is meant to has at least its kind: Configuration")
		}
	}
	return nil
}

// refuse says, once, why what was read does not count.
func (k *resourceKeeper) refuse(err error) {
	cause := strings.ReplaceAll(err.Error(), "\n", "; ")
	if cause == k.failed {
		return
	}
	k.failed = cause
	k.say(Notice{Kind: Warning, Text: "the resources stay as they were", Cause: cause})
}

// tell says what a person should look at and has not been told.
func (k *resourceKeeper) tell(r *resources) {
	for _, n := range r.doubts {
		if !k.said[n.Text] {
			k.said[n.Text] = true
			k.say(n)
		}
	}
}

// readResources is the step that reads the resources, before anything is bound:
// what is wrong with them ends the start.
func (s *sidecar) readResources(context.Context) error {
	s.resources = &resourceKeeper{read: s.findResources, say: s.say, said: map[string]bool{}}
	set := filewatch.Set{Paths: slices.Concat(s.cfg.ResourcesPaths, s.cfg.ConfigFiles)}
	if len(s.cfg.ResourcesPaths) == 0 && s.cfg.Profile.HomeResources && s.env.Home.Path != "" {
		_ = os.MkdirAll(s.env.Home.Resources(), 0o700) // else the whole home is watched for it
		set.Paths = append(set.Paths, s.env.Home.Resources())
	}
	s.watch(set) // before they are read, so that no change falls between
	return s.resources.begin()
}

// watch has the resources read anew when files change.
func (s *sidecar) watch(set filewatch.Set) {
	if len(set.Paths) == 0 {
		return
	}
	s.unwatch = s.files().Watch(set, s.resources.reload)
}

// files is who watches files: the process's watcher, or our own.
func (s *sidecar) files() *filewatch.Watcher {
	if s.env.Files != nil {
		return s.env.Files
	}
	if s.watcher == nil {
		s.watcher = filewatch.New(s.log)
	}
	return s.watcher
}

// Files makes a watcher of files for several sidecars of one process (Env). say
// is told if it can only look at them each second; nil for nobody.
func Files(say func(Notice)) *filewatch.Watcher {
	if say == nil {
		return filewatch.New(nil)
	}
	return filewatch.New(slog.New(logNotices{say: say, least: slog.LevelWarn}))
}

// watchTasks tell of changed files.
func (s *sidecar) watchTasks() []lifecycle.Task {
	if s.watcher == nil {
		return nil
	}
	return []lifecycle.Task{{Name: "files", Run: s.watcher.Run}}
}

// findResources reads what the files say, and judges it as a whole.
func (s *sidecar) findResources() (*resources, error) {
	getenv := s.resourceEnv()
	given, err := s.cfg.Configuration(getenv)
	told, errTold := s.cfg.Resources(s.cfg.ResourcePaths(s.env.Home), getenv, given.DeniedComponents...)
	r := &resources{Resources: told, Configuration: given}
	errs := []error{err, errTold, external.Check(told.HTTPEndpoints)}
	var doubts []string
	r.policy, doubts, err = access.FromConfiguration(given.AccessControl, !strings.HasPrefix(s.cfg.AppProtocol, "grpc"))
	for _, doubt := range doubts {
		r.doubt(doubt)
	}
	errs = append(errs, err, r.judgeComponents(s.cfg.Profile.StrictComponents), r.judgeStores(), r.judgePipelines())
	s.judgePolicies(r)
	return r, errors.Join(errs...)
}

// resourceEnv is the environment that resources may refer to: ours, with what
// Dapr's sidecar has in its own.
func (s *sidecar) resourceEnv() func(string) string {
	getenv := lookupIn(s.env.Environ)
	return func(name string) string {
		switch {
		case name == "APP_ID":
			return s.cfg.AppID
		case name == "APP_PORT" && s.cfg.AppPort != 0:
			return port(s.cfg.AppPort)
		}
		return getenv(name)
	}
}

func (r *resources) doubt(text string) {
	r.doubts = append(r.doubts, Notice{Kind: Warning, Text: text})
}

// judgeComponents names those that cannot be used. strict refuses the types
// that nobody knows.
func (r *resources) judgeComponents(strict bool) error {
	var errs []error
	for _, c := range r.Components {
		switch {
		case c.Unusable == "":
		case c.Unknown && strict && !c.IgnoreErrors:
			errs = append(errs, wrong(c.At, "the component "+c.Name+": "+c.Unusable))
		default:
			r.doubt(c.At + ": the component " + c.Name + " cannot be used: " + c.Unusable)
		}
	}
	for _, e := range r.HTTPEndpoints {
		if e.Unusable != "" {
			r.doubt(e.At + ": the HTTPEndpoint " + e.Name + " cannot be called: " + e.Unusable)
		}
	}
	return errors.Join(errs...)
}

func (r *resources) component(name string) *config.Component {
	for i := range r.Components {
		if r.Components[i].Name == name {
			return &r.Components[i]
		}
	}
	return nil
}

func wrong(at, what string) *apperr.Error {
	return &apperr.Error{Reason: apperr.OwnConfig, What: at + ": " + what}
}

// featureReload is Dapr's feature flag for reading changed files.
const featureReload = "HotReload"

// has reports whether a feature is on: that for reloading is unless somebody
// has turned it off.
func (r *resources) has(feature string) bool {
	on, said := r.Configuration.Features[feature]
	return on || !said && feature == featureReload
}

// features are Dapr's feature flags that are on.
func (r *resources) features() []string {
	given := map[string]bool{featureReload: r.has(featureReload)}
	maps.Copy(given, r.Configuration.Features)
	maps.DeleteFunc(given, func(_ string, on bool) bool { return !on })
	return slices.Sorted(maps.Keys(given))
}
