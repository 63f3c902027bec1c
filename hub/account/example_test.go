package account_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
)

func Example() {
	dir, err := os.MkdirTemp("", "bester")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)

	store, err := account.Create(filepath.Join(dir, "accounts"), account.Options{Cost: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	may := account.DefaultPermissions()
	may.Send = []hub.Pattern{"reading/greenhouse/#"}
	if err := store.Add("greenhouse", "correct horse", may); err != nil {
		fmt.Println(err)
		return
	}

	_, err = store.Login(context.Background(), "greenhouse", "battery staple")
	fmt.Println(err)
	a, err := store.Login(context.Background(), "greenhouse", "correct horse")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Name(), a.MaySend("reading/greenhouse/bme280"), a.MaySend("command/door"))
	// Output:
	// wrong name or password
	// greenhouse true false
}
