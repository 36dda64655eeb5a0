package supervisor_test

// roleVar makes the test binary play a part instead of running tests.
const roleVar = "SUPERVISOR_TEST_ROLE"

func play(role string) int { return 99 }
