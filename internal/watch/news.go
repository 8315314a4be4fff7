package watch

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// news collects what the system tells of the file and its guard directory, between two looks. It never waits for who looks,
// so that the system's queue does not run over while a large file is read.
type news struct {
	target, guardDir string
	arrived          chan struct{} // has one element while there is news

	mu       sync.Mutex
	system   *fsnotify.Watcher // nil: none, the file is only looked at
	watched  map[string]bool
	replaced int  // versions that were renamed into place
	written  bool // in place
}

func newNews(target, guardDir string) (*news, error) {
	n := &news{target: target, guardDir: guardDir, arrived: make(chan struct{}, 1), watched: map[string]bool{}}
	system, err := fsnotify.NewWatcher()
	if err != nil {
		return n, err
	}
	// The directory: a watch on the file dies with the first rename over it.
	if err := system.Add(filepath.Dir(target)); err != nil {
		_ = system.Close()
		return n, err
	}
	n.system = system
	go n.listen(system)
	n.refresh()
	return n, nil
}

func (n *news) close() {
	if n.system != nil {
		_ = n.system.Close()
	}
}

func (n *news) listen(system *fsnotify.Watcher) {
	for {
		select {
		case e, ok := <-system.Events:
			if !ok {
				return
			}
			if n.take(e) {
				n.signal()
			}
		case _, ok := <-system.Errors: // the queue ran over: anything may have happened
			if !ok {
				return
			}
			n.mu.Lock()
			n.written = true
			n.mu.Unlock()
			n.signal()
		}
	}
}

func (n *news) signal() {
	select {
	case n.arrived <- struct{}{}:
	default:
	}
}

// take notes what an event says, and whether it is about the file.
func (n *news) take(e fsnotify.Event) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case e.Name == n.target:
		if e.Has(fsnotify.Create) {
			n.replaced++
		}
		n.written = n.written || e.Has(fsnotify.Write)
		return e.Op != fsnotify.Chmod
	case n.watched[e.Name]:
		if e.Has(fsnotify.Remove | fsnotify.Rename) {
			delete(n.watched, e.Name)
		}
		return true
	}
	dir := filepath.Dir(e.Name)
	return e.Name == n.guardDir || dir == n.guardDir || filepath.Dir(dir) == n.guardDir
}

// refresh asks for news of the directories that there are by now.
func (n *news) refresh() {
	if n.system == nil {
		return
	}
	for _, dir := range []string{filepath.Dir(n.target), n.guardDir, filepath.Join(n.guardDir, "pending")} {
		n.mu.Lock()
		known := n.watched[dir]
		n.mu.Unlock()
		if known {
			continue
		}
		if info, err := os.Stat(dir); err == nil && info.IsDir() && n.system.Add(dir) == nil {
			n.mu.Lock()
			n.watched[dir] = true
			n.mu.Unlock()
		}
	}
}

// versions takes out how many there were. A write in place is no version, but that there were some counts as one.
func (n *news) versions() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	made := n.replaced
	if made == 0 && n.written {
		made = 1
	}
	n.replaced, n.written = 0, false
	return made
}
