from fuzz.minimize.driver import minimize, Minimized
