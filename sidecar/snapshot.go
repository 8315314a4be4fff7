package sidecar

import (
	"bytes"
	"errors"
	"io"
	"os"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// snapshot is the target as one fold sees it: an open descriptor, read only when somebody needs the content.
type snapshot struct {
	missing bool
	file    vfs.File
	info    vfs.Info
	content []byte
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
	f.target.info, err = file.Stat()
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
		return t.content, nil
	}
	var err error
	if t.content, _, err = readAll(t.file); err != nil {
		return nil, err
	}
	t.loaded = true
	return t.content, nil
}

// holds says whether the target is these bytes.
func (t *snapshot) holds(content []byte) bool {
	if t.missing || t.info.Size != int64(len(content)) {
		return false
	}
	chunk := make([]byte, min(len(content), 256<<10))
	for rest := content; len(rest) > 0; {
		part := chunk[:min(len(rest), len(chunk))]
		n, err := t.file.ReadAt(part, int64(len(content)-len(rest)))
		if n < len(part) || err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(part, rest[:n]) {
			return false
		}
		rest = rest[n:]
	}
	return true
}

func (t *snapshot) identity() (identity, error) {
	if t.missing {
		return identity{Missing: true}, nil
	}
	if t.hash == "" {
		var h hasher
		if t.loaded {
			h.add(t.content)
		} else if err := h.addFile(t.file); err != nil { // a log may be larger than memory
			return identity{}, err
		}
		t.hash = h.String()
	}
	return identify(t.info, t.hash), nil
}

func (h *hasher) addFile(f vfs.File) error {
	chunk := make([]byte, 1<<20)
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
