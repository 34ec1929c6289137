package testsvc

// tree returns the process root and its descendants, parents first. A process
// group would not do: each child of PostgreSQL is in a session of its own.
func tree(root int) ([]int, error) {
	parents, err := parents()
	if err != nil {
		return []int{root}, err
	}
	children := map[int][]int{}
	for pid, parent := range parents {
		children[parent] = append(children[parent], pid)
	}
	pids := []int{root}
	for i := 0; i < len(pids); i++ {
		pids = append(pids, children[pids[i]]...)
	}
	return pids, nil
}
