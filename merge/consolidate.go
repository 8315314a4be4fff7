package merge

// Consolidate makes one text again of containers that were put together child by child more often than it costs to copy
// and to read them. It is for a document that is changed and written again and again, whose changed children become ever
// more; what the document is does not change.
func (d *Document) Consolidate() {
	if d.edited && d.root != nil {
		d.root.consolidate()
	}
}

// bytesAChild is how much text is read in the time that it takes to write one child that is made.
const bytesAChild = 400

func (n *node) consolidate() {
	if !n.dirty || n.kind == kindLines {
		return
	}
	if len(n.raw) > n.written*bytesAChild || len(n.made) < wideChildren {
		for i := range n.kids {
			if c := n.madeOf(i); c != nil {
				c.value.consolidate()
			}
		}
		return
	}
	whole := newNode(textOf(n))
	whole.expand()
	if n.gone == 0 { // every name is at its place still
		whole.index, whole.read, whole.seen = n.index, n.read, n.seen
	}
	whole.between = n.between
	*n = *whole
}
