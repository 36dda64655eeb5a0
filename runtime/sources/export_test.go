package sources

// Found are the files that count, by their names, sorted.
func Found(o Options) ([]string, error) {
	t, err := newTree(o)
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for path := range t.Look().Files {
		names[t.name(path)] = true
	}
	return sorted(names), nil
}

// WatchFew is Watch with other bounds.
func WatchFew(o Options, folders, files int) (*Watched, error) {
	t, err := newTree(o)
	if err != nil {
		return nil, err
	}
	t.most = bounds{folders: folders, files: files}
	return t.watch(o)
}
