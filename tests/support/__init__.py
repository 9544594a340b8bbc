"""What the tests share: a private engine, its clients, its peers, images made by hand, a leak detector."""
