//go:build linux && (amd64 || arm64)

package intercept
import ("testing";"os";"os/exec";"path/filepath";"fmt";"time")
func TestQuickBench(t *testing.T) {
	b := opener(t)
	f := filepath.Join(realTemp(t), "other.txt")
	os.WriteFile(f, []byte("x"), 0o666)
	for _, k := range []string{"read","write"} {
	  out, _ := exec.Command(b, k, f, "20000").Output()
	  h := newScratchHandler(t)
	  fmt.Print(k, " bare ", string(out), "  supervised ", run(t, h, b, k, f, "20000"))
	}
	t0 := time.Now()
	for i:=0;i<100;i++ { exec.Command("/bin/true").Run() }
	fmt.Println("bare start", time.Since(t0)/100)
	t0 = time.Now()
	h := newScratchHandler(t)
	for i:=0;i<100;i++ { s, err := Start(Command{Path:"/bin/true",Args:[]string{"true"}}, h); if err!=nil {t.Fatal(err)}; s.Wait(); <-s.Done() }
	fmt.Println("supervised start", time.Since(t0)/100)
}
