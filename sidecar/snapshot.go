package sidecar

import (
	"bytes"
	"errors"
	"io"
	"os"
	"slices"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// snapshot is the target as one fold sees it: an open descriptor, read only when somebody needs the content.
type snapshot struct {
	missing bool
	file    vfs.File
	info    vfs.Info
	content pieces // once it is loaded
	loaded  bool
	hash    string          // "" not known yet
	doc     *merge.Document // of content, where it is remembered
}

func (f *fold) readTarget() error {
	if f.target != nil {
		f.target.close()
	}
	f.target = &snapshot{}
	if _, err := f.g.checkTarget(); isMissing(err) {
		f.target.missing = true
		return nil
	} else if err != nil {
		return err
	}
	file, err := f.g.parent.OpenFile(f.g.name, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	f.target.file = file
	if f.target.info, err = file.Stat(); err != nil {
		f.target.close()
	}
	return err
}

func (t *snapshot) close() {
	if t.file != nil {
		_ = t.file.Close()
		t.file = nil
	}
}

func (t *snapshot) read() ([]byte, error) {
	if t.missing || t.loaded {
		return t.content.whole(), nil
	}
	content, _, err := readAll(t.file)
	if err != nil {
		return nil, err
	}
	t.content, t.loaded = pieces{content}, true
	return content, nil
}

// is says whether the target is this version, whether it is in memory or not.
func (t *snapshot) is(content pieces) bool {
	if t.loaded || t.missing {
		return content.equal(t.content)
	}
	return t.holds(content)
}

// holds says whether the target is these bytes.
func (t *snapshot) holds(content pieces) bool {
	if t.missing || t.info.Size != content.size() {
		return false
	}
	const atOnce = 256 << 10
	buffer := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(buffer)
	*buffer = slices.Grow((*buffer)[:0], int(min(t.info.Size, atOnce)))
	chunk := (*buffer)[:min(t.info.Size, atOnce)]
	at := int64(0)
	for _, rest := range content {
		for len(rest) > 0 {
			part := chunk[:min(len(rest), len(chunk))]
			n, err := t.file.ReadAt(part, at)
			if n < len(part) || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part, rest[:n]) {
				return false
			}
			rest = rest[n:]
			at += int64(n)
		}
	}
	return true
}

func (t *snapshot) identity() (identity, error) {
	if t.missing {
		return identity{Missing: true}, nil
	}
	switch {
	case t.hash != "":
	case t.loaded:
		t.hash = t.content.hash()
	default: // a log may be larger than memory
		var h hasher
		if err := h.addFile(t.file, t.info.Size); err != nil {
			return identity{}, err
		}
		t.hash = h.String()
	}
	return identify(t.info, t.hash), nil
}

// addFile adds what is in f, which has about size bytes, in pieces of bounded size.
func (h *hasher) addFile(f vfs.File, size int64) error {
	if err := checkNoHoles(f, size); err != nil {
		return err
	}
	chunk := make([]byte, min(size+1, 1<<20)) // one more: the end of the file is seen in the same call
	for off := int64(0); ; {
		n, err := f.ReadAt(chunk, off)
		h.add(chunk[:n])
		off += int64(n)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// knownAs takes over the hash of a record that names this very file, which saves reading a log to append to it.
func (t *snapshot) knownAs(id identity) {
	if !t.missing && t.hash == "" && identify(t.info, "").sameFile(id) {
		t.hash = id.Hash
	}
}

func (t *snapshot) endsWithNewline() bool {
	if t.info.Size == 0 {
		return true
	}
	var last [1]byte
	n, err := t.file.ReadAt(last[:], t.info.Size-1)
	return n == 1 && (err == nil || errors.Is(err, io.EOF)) && last[0] == '\n'
}
