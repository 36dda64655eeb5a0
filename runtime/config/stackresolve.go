package config

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pillion-dev/pillion/internal/apperr"
)

// resolve makes an app's configuration of what was said: of the app itself,
// then of all, then elsewhere.
func (r *stackReader) resolve(app *saidApp) {
	r.findFolder(app)
	given, own := Given{}, Given{}
	for _, k := range stackKeys {
		v, ok := r.value(app, k.name)
		if !ok || k.flag == "" || k.form != formScalar && k.form != formWords {
			continue
		}
		given[k.flag] = v.values
		if _, said := app.keys[k.name]; said {
			own[k.flag] = v.values
		}
	}
	maps.Copy(given, r.src.Given)
	cfg, err := Resolve(given, r.src.Getenv, r.src.File)
	r.errs = append(r.errs, split(err)...)
	cfg.Dir, cfg.RunFile, cfg.RunName = app.dir, r.stack.Path, r.stack.Name
	command, _ := r.value(app, keyCommand)
	cfg.SetCommand(command.values, own)
	if cfg.AppID == "" && app.dir != "" {
		cfg.AppID, cfg.Derived = DeriveAppID(app.dir), true
	}
	cfg.Environ = r.environ(app)
	cfg.ConfigFiles = r.configFiles(app)
	if paths := r.resources(app); len(paths) > 0 {
		cfg.ResourcesPaths = paths
	}
	app.done = StackApp{Sidecar: cfg}
	if v, ok := r.value(app, keyAppLog); ok {
		app.done.AppLog = LogDestination(last(v.values))
	}
	if v, ok := r.value(app, keySidecarLog); ok {
		app.done.SidecarLog = LogDestination(last(v.values))
	}
	if app.dir != "" {
		for _, err := range split(cfg.Validate()) {
			r.errs = append(r.errs, r.blame(app, err))
		}
	}
	r.stack.Apps = append(r.stack.Apps, app.done)
}

// value is what is said of an app, else of all.
func (r *stackReader) value(app *saidApp, key string) (said, bool) {
	if v, ok := app.keys[key]; ok {
		return v, true
	}
	v, ok := r.common[key]
	return v, ok
}

// findFolder reads the folder an app runs in.
func (r *stackReader) findFolder(app *saidApp) {
	v, ok := app.keys[keyAppDir]
	if !ok {
		r.fail(app.node, keyAppDir+": ./ is the run file's own folder", "%s is missing: an app needs a folder", keyAppDir)
		return
	}
	dir := r.resolvePath(r.stack.Folder, last(v.values))
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		r.fail(v.at, "", "%s: %s: %s", keyAppDir, dir, bare(err))
	case !info.IsDir():
		r.fail(v.at, "", "%s: %s is no folder", keyAppDir, dir)
	default:
		app.dir = dir
	}
}

// resolvePath is a path of the file: from the user's home with a tilde, relative to
// base otherwise.
func (r *stackReader) resolvePath(base, path string) string {
	if rest, ok := afterTilde(path); ok {
		if home := UserHome(r.src.Getenv); home != "" {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(base, path)
}

// configFiles is Dapr's order: the app's, the one in its folder, everybody's.
func (r *stackReader) configFiles(app *saidApp) []string {
	if v, ok := app.keys[keyConfig]; ok {
		return []string{r.resolvePath(app.dir, last(v.values))}
	}
	if path := filepath.Join(app.dir, ".dapr", "config.yaml"); app.dir != "" && exists(path, false) {
		return []string{path}
	}
	if v, ok := r.common[keyConfig]; ok {
		return []string{r.resolvePath(r.stack.Folder, last(v.values))}
	}
	return nil
}

// resources is the same for the folders of resources.
func (r *stackReader) resources(app *saidApp) []string {
	if paths := r.listed(app.keys, app.dir); len(paths) > 0 {
		return paths
	}
	if path := filepath.Join(app.dir, ".dapr", "resources"); app.dir != "" && exists(path, true) {
		return []string{path}
	}
	return r.listed(r.common, r.stack.Folder)
}

// listed are the resource folders of one mapping; the list counts more than
// its old form.
func (r *stackReader) listed(keys saidKeys, base string) []string {
	v, ok := keys[keyResources]
	if !ok {
		v = keys[keyResource]
	}
	var out []string
	for _, path := range v.values {
		if path != "" {
			out = append(out, r.resolvePath(base, path))
		}
	}
	return out
}

func exists(path string, folder bool) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir() == folder
}

// environ is what the app gets beside everything else, as NAME=value, in
// order.
func (r *stackReader) environ(app *saidApp) []string {
	values := map[string]string{}
	for _, keys := range []saidKeys{r.common, app.keys} {
		for _, pair := range keys[keyEnv].pairs {
			values[pair[0]] = pair[1]
		}
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		out = append(out, name+"="+values[name])
	}
	return out
}

// blame says an error of Validate in the file's words, at the place of what it
// is about.
func (r *stackReader) blame(app *saidApp, err error) error {
	e, ok := errors.AsType[*apperr.Error](err)
	if !ok {
		return err
	}
	at := app.node
	for _, flag := range flagNames.FindAllString(e.What, -1) {
		v, found := r.byFlag(app, flag)
		if found {
			at = v.at
			break
		}
		if flag != "--app-id" { // which may come from the folder
			return err // it was said elsewhere
		}
	}
	told, _ := errors.AsType[*apperr.Error](r.at(startOf(at), InRunFile(e.What), InRunFile(e.Hint)))
	if e.Cause != "" {
		told.Cause = e.Cause
	}
	return told
}

// byFlag is what the file says of what a flag says.
func (r *stackReader) byFlag(app *saidApp, flag string) (said, bool) {
	for _, k := range stackKeys {
		if k.flag == "" || "--"+k.flag != flag {
			continue
		}
		if v, ok := r.value(app, k.name); ok {
			return v, true
		}
	}
	return said{}, false
}

// A claim is a port that an app was given.
type claim struct {
	app *saidApp
	key string
}

// compare looks for what apps must not share.
func (r *stackReader) compare() {
	ports := map[uint16]claim{}
	for i := range r.apps {
		app := &r.apps[i]
		for _, k := range stackKeys {
			if strings.HasSuffix(k.flag, "-port") {
				r.claim(ports, claim{app, k.name})
			}
		}
		for j := range r.apps[:i] {
			r.compareIDs(&r.apps[j], app)
		}
	}
}

// claim notes that an app has a port, and reports one that another app has.
// Several sidecars may wait for one app that is started elsewhere.
func (r *stackReader) claim(ports map[uint16]claim, c claim) {
	v, ok := c.app.keys[c.key]
	n, err := ParsePort(last(v.values))
	if !ok || err != nil || n == 0 || c.key == "appPort" && len(c.app.done.Command) == 0 {
		return
	}
	before, taken := ports[n]
	if !taken {
		ports[n] = c
		return
	}
	if before.app == c.app {
		return // Validate has said it
	}
	hint := "give them different ports"
	if c.key != "appPort" {
		hint += ", or leave out " + c.key + " to get a free one"
	}
	r.fail(v.at, hint, "%s of %s and %s of %s are both %d", before.key, before.app.done.AppID, c.key, c.app.done.AppID, n)
}

// compareIDs reports two different programs under one name. Two instances of
// one are welcome.
func (r *stackReader) compareIDs(a, b *saidApp) {
	x, y := a.done, b.done
	if x.AppID != y.AppID || x.AppID == "" || x.Dir == y.Dir && slices.Equal(x.Command, y.Command) {
		return
	}
	at, hint := b.node, "give one of them another appID"
	if v, ok := b.keys["appID"]; ok {
		at = v.at
	} else {
		hint = "their folders have the same name: give them an appID"
	}
	r.fail(at, hint, "appID %s is another program's, too, of line %d", y.AppID, firstLine(a.node))
}

// split takes joined errors apart.
func split(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var all []error
		for _, e := range joined.Unwrap() {
			all = append(all, split(e)...)
		}
		return all
	}
	return []error{err}
}
