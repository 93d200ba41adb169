def run(report, kit):
    pass
