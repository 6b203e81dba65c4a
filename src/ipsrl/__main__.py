from ipsrl.cli import main

raise SystemExit(main())
