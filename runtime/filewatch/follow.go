package filewatch

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/fsnotify/fsnotify"
)

// bufferSize is what Windows keeps for each folder until it is read; what does
// not fit is looked for. Other systems keep one queue for all.
const bufferSize = 16 << 10

func addFolder(events *fsnotify.Watcher, folder string) error {
	return events.AddWith(folder, fsnotify.WithBufferSize(bufferSize))
}

// hears reports whether there are events, and sees to it if somebody needs them.
func (r *running) hears(needed bool) bool {
	if r.ear != nil || r.deaf || !needed {
		return r.ear != nil
	}
	events, err := r.w.open()
	if err != nil {
		r.giveUp(err)
		return false
	}
	r.ear = listen(events)
	return true
}

// followRounds bounds how often in a row other folders may count.
const followRounds = 100

// follow has the system tell of the folders that now count, and of no others.
// A folder that is new may have changed before it was watched: it is looked at,
// and others may count because of that. To ask for the same ones again is of no
// use: they have gone, and it is not known yet, or have another name.
func (r *running) follow() {
	var before []string
	for range followRounds {
		now := r.followOnce()
		if len(now) == 0 || slices.Equal(now, before) {
			return
		}
		before = now
	}
}

// followOnce returns the folders that were new, sorted.
func (r *running) followOnce() (news []string) {
	all := r.w.everything()
	if !r.hears(len(all) > 0) {
		return nil
	}
	want, others := resolve(r.wanted(all))
	r.aliases = others
	asked := map[string]fs.FileInfo{}
	for _, have := range r.ear.events.WatchList() {
		if _, ok := want[have]; !ok || !isStill(have, r.asked[have]) {
			_ = r.ear.events.Remove(have) // it has gone, or nobody asks
			continue
		}
		asked[have] = r.asked[have]
		delete(want, have)
	}
	r.asked = asked
	if news = r.ask(all, want); len(news) > 0 {
		r.look()
	}
	slices.Sort(news)
	return news
}

// ask asks the system for the events of more folders, and returns those that it
// tells of, and those that have gone.
func (r *running) ask(all []*watched, want map[string]*watched) (news []string) {
	for _, folder := range inOrder(want) {
		info, err := identify(folder)
		if err == nil {
			err = r.w.add(r.ear.events, folder)
		}
		switch {
		case err == nil:
			r.asked[folder] = info
			news = append(news, folder)
		case folderOf(folder) != folder:
			news = append(news, folder) // the next look finds where it was
		case errors.Is(err, fs.ErrPermission):
			// What is in it cannot be seen by looking either.
		case want[folder] == nil:
			r.giveUp(err)
			return nil
		default:
			r.leave(largest(all), err)
			return append(news, folder)
		}
	}
	return news
}

// identify tells the folder at path from others that are there later.
func identify(path string) (fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err == nil {
		os.SameFile(info, info) // some systems ask for the identity only now
	}
	return info, err
}

// isStill reports whether the folder at path is the one that was there: the
// system tells of a folder, wherever it is moved to with what it is in.
func isStill(path string, was fs.FileInfo) bool {
	info, err := os.Stat(path)
	return err == nil && was != nil && os.SameFile(info, was)
}

// leave does without the events of a tree, since there are not enough for all of
// it, and others need some too: it is looked at each second.
func (r *running) leave(tree *watched, err error) {
	tree.unheard = true
	folders, _ := tree.folders()
	r.w.log.Warn("the system cannot tell of changes in so many folders: they are looked at each second",
		append([]any{"err", err, "folders", len(folders)}, advice(err)...)...)
}

// largest is the tree of most folders that there are events for.
func largest(all []*watched) (tree *watched) {
	most := -1
	for _, one := range all {
		if _, isTree := one.thing.(*Watching); !isTree || one.unheard {
			continue
		}
		if folders, _ := one.folders(); len(folders) > most {
			tree, most = one, len(folders)
		}
	}
	return tree
}

// wanted are the folders that count, each with the tree it is of; nil for what
// is watched in any case.
func (r *running) wanted(all []*watched) map[string]*watched {
	want := map[string]*watched{}
	for _, one := range all {
		_, isTree := one.thing.(*Watching)
		folders, files := one.folders()
		switch {
		case !isTree:
			for _, folder := range folders {
				want[folder] = nil
			}
		case one.unheard:
		case tooDear(len(folders), files):
			one.unheard = true
			r.w.log.Warn("these are many files for the system to tell of: they are looked at each second", "folders", len(folders), "files", files)
		default:
			for _, folder := range folders {
				if _, ok := want[folder]; !ok {
					want[folder] = one
				}
			}
		}
	}
	return want
}

// inOrder has the folders that are watched in any case first.
func inOrder(want map[string]*watched) []string {
	first, rest := []string{}, []string{}
	for folder, one := range want {
		if one == nil {
			first = append(first, folder)
		} else {
			rest = append(rest, folder)
		}
	}
	return append(first, rest...)
}
