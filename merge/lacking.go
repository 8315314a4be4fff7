package merge

// Lacking is what of lines, in JSON Lines, d does not have: each as often as it is there more often, in their order and as they are written.
// Where a line comes from and before which other one it stood says nothing.
func (d *Document) Lacking(lines []byte, pol *Policy) ([]byte, error) {
	o, err := Parse(lines, Lines)
	if err != nil {
		return nil, err
	}
	df := differ{strict: pol.strict()}
	held := map[uint64][]int{} // by fingerprint, those that none of lines stands for yet
	d.root.expand()
	for i := range d.root.kids {
		print := d.root.fingerprint(i)
		held[print] = append(held[print], i)
	}
	var lacking []byte
	o.root.expand()
line:
	for i := range o.root.kids {
		print := o.root.fingerprint(i)
		for k, j := range held[print] {
			if df.sameElement(d.root, j, o.root, i) {
				held[print][k] = held[print][0]
				held[print] = held[print][1:]
				continue line
			}
		}
		lacking = append(append(lacking, o.root.pieceOf(i).raw...), '\n')
	}
	return lacking, nil
}
