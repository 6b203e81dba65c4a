"""The commands `ipsrl train molecules` and `ipsrl molecules ...`.

search      train, translate
prior       pretrain, sample, import
docking     receptor, redock, rank
synthesis   route
"""
