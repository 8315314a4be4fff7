package main

import (
	"image/color"
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// chart is a picture of one table: a line for each peer, both axes logarithmic.
type chart struct {
	title, x, y string
	names       []string
	lines       map[string]plotter.XYs
}

// chart begins one; without a title nobody will see it.
func (b *bench) chart(title, x, y string) *chart {
	c := &chart{title, x, y, nil, map[string]plotter.XYs{}}
	if title != "" {
		b.charts = append(b.charts, c)
	}
	return c
}

func (b *bench) writeCharts(dir string) error {
	for _, c := range b.charts {
		if err := c.write(dir); err != nil {
			return err
		}
	}
	return nil
}

// prominent: a README shows throughput against processes and against the size of the document.
func (c *chart) prominent() bool {
	return strings.Contains(c.title, "acknowledgements") && len(c.names) > 0
}

// file is its name without an extension.
func (c *chart) file() string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(strings.ToLower(c.title))
}

func (c *chart) add(name string, x, y float64) {
	if y <= 0 {
		return // a logarithm has no place for it
	}
	if _, known := c.lines[name]; !known {
		c.names = append(c.names, name)
	}
	c.lines[name] = append(c.lines[name], plotter.XY{X: x, Y: y})
}

// palette is Okabe and Ito's, which people with colour blindness can tell apart.
var palette = []color.RGBA{
	{0, 114, 178, 255}, {230, 159, 0, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{213, 94, 0, 255}, {86, 180, 233, 255}, {120, 120, 120, 255},
}

// ticks are where something was measured.
func (c *chart) ticks() (ticks []plot.Tick) {
	seen := map[float64]bool{}
	for _, line := range c.lines {
		for _, at := range line {
			if !seen[at.X] {
				seen[at.X] = true
				ticks = append(ticks, plot.Tick{Value: at.X, Label: strconv.FormatFloat(at.X, 'f', -1, 64)})
			}
		}
	}
	return ticks
}

func (c *chart) write(dir string) error {
	if len(c.names) == 0 {
		return nil
	}
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.title, c.x, c.y
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(c.ticks()), plot.LogTicks{Prec: -1}
	p.Add(plotter.NewGrid())
	p.Legend.Top = true
	for i, name := range c.names {
		line, points, err := plotter.NewLinePoints(c.lines[name])
		if err != nil {
			return err
		}
		line.Color, points.Color = palette[i%len(palette)], palette[i%len(palette)]
		line.Width, points.Shape = vg.Points(1.5), draw.CircleGlyph{}
		p.Add(line, points)
		p.Legend.Add(name, line, points)
	}
	p.Y.Max *= math.Pow(10, 0.2*float64(len(c.names))) // room for the legend, above all lines
	for _, ext := range []string{".svg", ".png"} {
		if err := p.Save(18*vg.Centimeter, 11*vg.Centimeter, filepath.Join(dir, c.file()+ext)); err != nil {
			return err
		}
	}
	return nil
}
