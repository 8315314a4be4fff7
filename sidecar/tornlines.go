package sidecar

import (
	"bytes"

	"jsonguard/internal/vfs"
	"jsonguard/merge"
)

// wholeLines takes off content, which was read of the target, what is there in part of an append: its record, which is on disk before
// it, says where that begins. Of what it leaves everything was acknowledged, or is whole. again: it is another version by now.
func (g *Guard) wholeLines(read vfs.Info, content []byte) (whole []byte, again bool) {
	if g.format != merge.Lines || len(content) == 0 {
		return content, false
	}
	if content[len(content)-1] == '\n' && bytes.IndexByte(content, 0) < 0 { // a sector that a power cut took has zeros
		return content, false
	}
	if whole, found := g.beforeTornAppend(read.Inode, content); found {
		return whole, false
	}
	// It was caught in the middle of an append that has come to its end since, or is as somebody wants it.
	now, err := g.parent.Stat(g.name)
	return content, err == nil && !identify(now, "").sameFile(identify(read, ""))
}

// beforeTornAppend finds the append that is under way, or was stopped, whose lines content has in part.
func (g *Guard) beforeTornAppend(inode uint64, content []byte) (whole []byte, found bool) {
	s, err := g.openStore(false)
	if err != nil {
		return nil, false
	}
	defer s.close()
	last, err := s.newestCommit()
	if err != nil || last.Kind != kindAppend || last.From.Inode != inode || last.From.Size > int64(len(content)) || s.seenGeneration() == last.Generation {
		return nil, false
	}
	end := int(last.From.Size)
	if bytes.Contains(content[end:], last.Block) {
		return nil, false // what is wrong is not of it
	}
	for line := range bytes.Lines(content[end:]) {
		if line[len(line)-1] != '\n' || merge.Valid(line, merge.Lines) != nil {
			break
		}
		end += len(line)
	}
	return content[:end], true
}
